"""Binance TR, spot: those of Binance's own markets that Turkey may trade, on hosts of their own.

https://www.binance.tr/apidocs/
"""

from aggregator.exchange import Exchange, Limits
from aggregator.records import HOUR_S
from connectors.families.binance import history, stream
from connectors.families.binance.cloud_listing import is_main, listing
from connectors.families.binance.rest import backfill, snapshot, trouble

REST = "https://api.binance.me/api/v3"

EXCHANGE = Exchange(
    id="binancetr",
    docs="https://www.binance.tr/apidocs/",
    checked="2026-11, its documentation of May 2026, clients by others of 2026, and a recording of April 2023",
    trouble=trouble,
    limits=Limits(lifetime=24 * HOUR_S, weights={REST: ((6000, 60),)}, connects=(300, 300)),
    listing=listing("https://www.binance.tr"),
    feeds=(
        stream(
            "main",
            "wss://stream-cloud.binance.tr/stream",
            snapshot(REST, depth=1000, weight=50),
            past=backfill(REST, lookup=False),
            serves=is_main,
        ),
    ),
    history=history.spot(REST, lookup=False),
    notes=(
        "Its markets are Binance's own, with the same books and numbers; they are named as there (`BTCTRY`).",
        "Markets of its second engine (`BTC_TRY`), where there are any, are listed, and no data of them are asked for.",
        "Whole books are had of 1000 levels a side: how much may be asked is not documented, and so much is sure.",
    ),
)
