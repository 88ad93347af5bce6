"""Okcoin, which spoke the protocol of OKX until it became OKX US in May 2025: spot.

https://www.okcoin.com/docs-v5/en/
By 2023-04-27 recorders had gone over from version 3 (https://github.com/tardis-dev/tardis-node); the day on which that
ended was not found.
"""

from connectors.families import okx

EXCHANGE = okx.archived(
    "okcoin",
    docs="https://www.okcoin.com/docs-v5/en/",
    checked="2026-11, a recording of May 2023 by others",
    until="2025-06-01",
    legacy_until="2023-04-27",
)
