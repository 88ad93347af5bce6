"""The products of Kraken's futures.

https://docs.kraken.com/exchange/api-reference/futures-rest/get-instruments
"""

from collections.abc import Mapping

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Listing, Request, Trouble
from aggregator.records import Instrument
from aggregator.wire import Text, at, from_iso, number, optional, step


class ProductWire(Struct):
    symbol: str  # it was in small letters until 2022
    type: str
    tradeable: bool
    base: str | None = None
    quote: str | None = None
    contractSize: Text = None
    tickSize: Text = None
    contractValueTradePrecision: int = 0  # decimals of a size
    lastTradingTime: str | None = None
    openingDate: str | None = None
    postOnly: bool = False


class Answer(Struct):
    result: str = ""
    error: str = ""


decode_answer = Decoder(Answer).decode
decode_product = Decoder(ProductWire, float_hook=number).decode


def read_product(row: Raw) -> Instrument | None:
    """The instrument of a contract; indices, which are listed too, have no feed."""
    p = decode_product(row)
    if "index" in p.type:
        return None
    raw_symbol = p.symbol.upper()
    assets = raw_symbol.split("_")[1]
    base, quote = p.base or assets[:-3], p.quote or assets[-3:]
    is_inverse = p.type == "futures_inverse"
    lot = step(p.contractValueTradePrecision)
    return Instrument(
        raw_symbol=raw_symbol,
        kind="perpetual" if p.lastTradingTime is None else "future",
        base=base,
        quote=quote,
        settle=base if is_inverse else quote,
        linear=not is_inverse,
        contract_size=optional(p.contractSize),
        tick_size=optional(p.tickSize),
        lot_size=lot,
        min_size=lot,
        expiry=None if p.lastTradingTime is None else from_iso(p.lastTradingTime),
        state="halt" if not p.tradeable else "post_only" if p.postOnly else "trading",
        ts_listed=None if p.openingDate is None else from_iso(p.openingDate),
    )


def trouble(_: int, __: Mapping[str, str], body: bytes) -> Trouble | None:
    """Errors come with HTTP 200."""
    said = decode_answer(body)
    return Trouble(said.error, is_busy=said.error == "apiLimitExceeded") if said.result == "error" else None


def listing(api: str) -> Listing:
    return Listing((Request(f"{api}/instruments"),), at("instruments"), read_product)
