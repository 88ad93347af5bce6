"""The listing of exchanges that Binance runs for others: markets of its own engine (type 1), and of a second one.

https://www.binance.tr/apidocs/ and https://www.tokocrypto.com/apidocs/
A market of type 1 has the name that all of Binance's addresses know, `BTCUSDT`. One of another type keeps the name of
the listing, `BTC_IDR`, which tells them apart.
"""

from msgspec import Raw
from msgspec.json import Decoder

from aggregator.exchange import Listing, Request
from aggregator.records import Instrument
from aggregator.wire import at
from connectors.families.binance.rest import Filtered, read_filters


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
    """Tell whether a market is of the second engine."""
    return "_" in str(instrument.raw_symbol)


def is_main(instrument: Instrument) -> bool:
    """Tell whether a market is of Binance's own engine."""
    return not is_next(instrument)


def listing(host: str) -> Listing:
    return Listing((Request(f"{host}/open/v1/common/symbols"),), at("data", "list"), read_market, state=())
