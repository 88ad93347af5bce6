"""OKX.

https://www.okx.com/docs-v5/en/
"""

from connectors.families import okx

EXCHANGE = okx.exchange(
    "okx",
    docs="https://www.okx.com/docs-v5/en/",
    ws="wss://ws.okx.com:8443/ws/v5",
    rest="https://www.okx.com/api/v5",
)
