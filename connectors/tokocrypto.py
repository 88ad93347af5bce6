"""Tokocrypto, spot: markets of Binance's own engine (type 1), and those of its new engine (type 3), each on its host.

https://www.tokocrypto.com/apidocs/
A market of type 3 is named as in the listing, `BTC_IDR`: that tells which host serves it, and its stream knows it
without the line between the assets.
"""

from aggregator.exchange import Exchange, Limits
from aggregator.records import HOUR_S
from aggregator.sequence import spanning
from connectors.families.binance import stream
from connectors.families.binance.cloud_listing import is_main, is_next, listing
from connectors.families.binance.rest import backfill, snapshot, trouble

BINANCE = "https://www.tokocrypto.site/api/v3"
NEXT = "https://cloudme-toko.2meta.app/api/v1"

EXCHANGE = Exchange(
    id="tokocrypto",
    docs="https://www.tokocrypto.com/apidocs/",
    checked="2026-09, live probes by others",
    trouble=trouble,
    limits=Limits(lifetime=24 * HOUR_S, weights={BINANCE: ((6000, 60),), NEXT: ((1200, 60),)}, connects=(300, 300)),
    listing=listing("https://www.tokocrypto.com"),
    feeds=(
        stream(
            "main",
            "wss://stream-cloud.tokocrypto.site/stream",
            snapshot(BINANCE),
            mirrors=("wss://stream-cloud.binanceru.net/stream",),
            past=backfill(BINANCE, lookup=False),
            serves=is_main,
        ),
        stream(
            "next",
            "wss://stream-toko.2meta.app/stream",
            snapshot(NEXT, depth=1000, weight=10),
            book=spanning,  # each change names the number before it, as those of futures do
            serves=is_next,
            named=lambda i: str(i.raw_symbol).replace("_", ""),
            patience=200,  # how often this host pings is not known
        ),
    ),
    notes=(
        "Markets of type 1 are Binance's own, with the same books and numbers; they are named as there (`BTCUSDT`).",
        "Those of type 3 are named as in the listing (`BTC_IDR`), and missed trades of them cannot be asked for.",
        "A market that a host does not have is confirmed like any other, and then silent.",
    ),
)
