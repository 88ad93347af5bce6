"""bitbank's pairs."""

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.records import Instrument
from aggregator.wire import optional, step


class Pair(Struct):
    name: str
    price_digits: int | None = None
    amount_digits: int | None = None
    unit_amount: str | None = None  # the least that can be ordered
    limit_max_amount: str | None = None
    is_enabled: bool = True
    stop_order: bool = False
    stop_order_and_cancel: bool = False


decode_pair = Decoder(Pair).decode


def read_pair(row: Raw) -> Instrument:
    p = decode_pair(row)
    base, _, quote = p.name.upper().partition("_")
    return Instrument(
        raw_symbol=p.name,
        base=base,
        quote=quote,
        tick_size=step(p.price_digits),
        lot_size=step(p.amount_digits),
        min_size=optional(p.unit_amount),
        max_size=optional(p.limit_max_amount),
        state="halt" if not p.is_enabled or p.stop_order or p.stop_order_and_cancel else "trading",
    )
