"""Okcoin, which spoke the protocol of OKX until it became OKX US in May 2025: spot.

https://www.okcoin.com/docs-v5/en/
"""

from connectors.families import okx

EXCHANGE = okx.archived(
    "okcoin",
    docs="https://www.okcoin.com/docs-v5/en/",
    checked="2026-11, a recording of May 2023 by others",
    until="2025-06-01",
)
