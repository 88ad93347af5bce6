"""OKX in the United States: spot alone.

https://app.okx.com/docs-v5/en/#overview
"""

from connectors.families import okx

EXCHANGE = okx.exchange(
    "okxus",
    docs="https://app.okx.com/docs-v5/en/#overview",
    ws="wss://wsus.okx.com/ws/v5",
    rest="https://us.okx.com/api/v5",
    types=("SPOT",),
    checked="2026-11, its documentation and ccxt 4.5.90: no message was seen",
)
