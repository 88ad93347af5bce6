"""WOOFi Pro, a broker of Orderly: the book is Orderly's, which all its brokers share.

https://orderly.network/docs/build-on-omnichain/websocket-api/introduction
"""

from connectors.families.woo import orderly

EXCHANGE = orderly.exchange("woofipro", checked="2026-09, live probes by others")
