"""The pairs of Revolut X, which are a map; some answers wrap it.

https://developer.revolut.com/docs/api/revolut-x-crypto-exchange
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.records import Instrument, MarketState
from aggregator.wire import optional

STATES: dict[str, MarketState] = {"active": "trading", "inactive": "halt"}


class PairRow(Struct):
    base: str
    quote: str
    status: str = ""
    base_step: str | None = None
    quote_step: str | None = None
    min_order_size: str | None = None
    max_order_size: str | None = None
    min_order_size_quote: str | None = None


decode_pairs = Decoder(dict[str, Raw]).decode
decode_pair = Decoder(PairRow).decode


def rows(body: bytes) -> Iterable[Raw]:
    pairs = decode_pairs(body)
    return (decode_pairs(pairs["data"]) if "data" in pairs else pairs).values()


def read_pair(row: Raw) -> Instrument:
    p = decode_pair(row)
    return Instrument(
        raw_symbol=f"{p.base}/{p.quote}",
        base=p.base,
        quote=p.quote,
        tick_size=optional(p.quote_step),
        lot_size=optional(p.base_step),
        min_size=optional(p.min_order_size),
        max_size=optional(p.max_order_size),
        min_notional=optional(p.min_order_size_quote),
        state=STATES.get(p.status, "unknown"),
    )
