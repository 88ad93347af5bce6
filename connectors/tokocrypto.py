"""Tokocrypto, spot: markets of Binance's own engine (type 1), and those of its new engine (type 3), each on its host.

https://www.tokocrypto.com/apidocs/
A market of type 1 has the name that all of Binance's addresses know, `BTCUSDT`. One of type 3 keeps the name of the
listing, `BTC_IDR`: that tells which host serves it, and its stream knows it without the line between the assets.
"""

from msgspec import Raw
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Limits, Listing, Request
from aggregator.records import HOUR_S, Instrument
from aggregator.sequence import spanning
from aggregator.wire import at
from connectors.families.binance import stream
from connectors.families.binance.rest import Filtered, backfill, read_filters, snapshot, trouble

BINANCE = "https://www.tokocrypto.site/api/v3"
NEXT = "https://cloudme-toko.2meta.app/api/v1"


class MarketWire(Filtered):
    type: int
    symbol: str
    baseAsset: str
    quoteAsset: str
    spotTradingEnable: int


decode_market = Decoder(MarketWire).decode


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    instrument = Instrument(
        raw_symbol=m.symbol.replace("_", "") if m.type == 1 else m.symbol,
        base=m.baseAsset,
        quote=m.quoteAsset,
        state="trading" if m.spotTradingEnable else "halt",
    )
    read_filters(instrument, m.filters)
    return instrument


def is_next(instrument: Instrument) -> bool:
    return "_" in str(instrument.raw_symbol)


EXCHANGE = Exchange(
    id="tokocrypto",
    docs="https://www.tokocrypto.com/apidocs/",
    checked="2026-09, live probes by others",
    trouble=trouble,
    limits=Limits(lifetime=24 * HOUR_S, weights={BINANCE: ((6000, 60),), NEXT: ((1200, 60),)}, connects=(300, 300)),
    listing=Listing(
        (Request("https://www.tokocrypto.com/open/v1/common/symbols"),), at("data", "list"), read_market, state=()
    ),
    feeds=(
        stream(
            "main",
            "wss://stream-cloud.tokocrypto.site/stream",
            snapshot(BINANCE),
            mirrors=("wss://stream-cloud.binanceru.net/stream",),
            past=backfill(BINANCE, lookup=False),
            serves=lambda i: not is_next(i),
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
