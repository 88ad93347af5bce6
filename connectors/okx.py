"""OKX.

https://www.okx.com/docs-v5/en/
Its sockets stand at port 443 alone: that of 8443 takes no connections since 2026-10-31, whatever older texts say. No
mirror is declared: what is published of `wsaws.okx.com` names port 8443.
"""

from connectors.families import okx

EXCHANGE = okx.exchange(
    "okx",
    docs="https://www.okx.com/docs-v5/en/",
    ws="wss://ws.okx.com/ws/v5",
    rest="https://www.okx.com/api/v5",
    checked="2026-09, live probes by others; 2026-11, texts about port 8443",
)
