"""OKX in the European Economic Area: spot, the swaps that it lists, and X-Perps: futures of years that pay funding.

https://my.okx.com/docs-v5/en/#overview
Its documentation names port 8443 beside 443, which OKX has closed in 2026.
"""

from connectors.families import okx

EXCHANGE = okx.exchange(
    "myokx",
    docs="https://my.okx.com/docs-v5/en/#overview",
    ws="wss://wseea.okx.com/ws/v5",
    rest="https://eea.okx.com/api/v5",
    types=("SPOT", "SWAP", "FUTURES"),
    checked="2026-09, lists and recorders of others; 2026-11, its documentation and ccxt 4.5.90: no message was seen",
)
