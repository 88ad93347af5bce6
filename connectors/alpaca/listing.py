"""The assets of Alpaca that are crypto.

https://docs.alpaca.markets/reference/get-v2-assets-1
"""

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.records import Instrument, MarketState
from aggregator.wire import Text, as_written, optional

STATES: dict[str, MarketState] = {"active": "trading", "inactive": "delisted"}


class AssetWire(Struct):
    symbol: str
    status: str
    tradable: bool = True
    min_order_size: Text = None
    min_trade_increment: Text = None
    price_increment: Text = None


decode_asset = Decoder(AssetWire, float_hook=as_written).decode


def read_asset(row: Raw) -> Instrument | None:
    a = decode_asset(row)
    base, slash, quote = a.symbol.partition("/")
    if not slash:
        return None  # the stream knows no such spelling
    return Instrument(
        raw_symbol=a.symbol,
        base=base,
        quote=quote,
        tick_size=optional(a.price_increment),
        lot_size=optional(a.min_trade_increment),
        min_size=optional(a.min_order_size),
        state="halt" if a.status == "active" and not a.tradable else STATES.get(a.status, "unknown"),
    )
