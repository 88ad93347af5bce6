"""OKX.

https://www.okx.com/docs-v5/en/
Its sockets stand at port 443 alone: that of 8443 takes no connections since 2026-10-31, whatever older texts say. No
mirror is declared: what is published of `wsaws.okx.com` names port 8443.
Version 3 is known from a frame of 2022-02-25, when recorders had gone over to version 5; the day on which it ended was
not found.
"""

from connectors.families import okx

EXCHANGE = okx.exchange(
    "okx",
    docs="https://www.okx.com/docs-v5/en/",
    ws="wss://ws.okx.com/ws/v5",
    rest="https://www.okx.com/api/v5",
    checked="2026-09, live probes by others; 2026-11, texts about port 8443",
    legacy_until="2023-01-01",  # none of its frames of that year is known
)
