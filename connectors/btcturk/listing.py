"""BtcTurk's pairs."""

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.records import Instrument, MarketState
from aggregator.wire import Text, as_written, optional, step

STATES: dict[str, MarketState] = {"TRADING": "trading"}  # the documentation names no other


class FilterWire(Struct):
    tickSize: Text = None
    minExchangeValue: Text = None
    minAmount: Text = None
    maxAmount: Text = None


class PairWire(Struct):
    name: str
    numerator: str
    denominator: str
    status: str = ""
    numeratorScale: Text = None
    filters: tuple[FilterWire, ...] = ()


decode_pair = Decoder(PairWire, float_hook=as_written).decode


def read_pair(row: Raw) -> Instrument:
    p = decode_pair(row)
    limits = p.filters[0] if p.filters else FilterWire()
    return Instrument(
        raw_symbol=p.name,
        base=p.numerator,
        quote=p.denominator,
        tick_size=optional(limits.tickSize),
        lot_size=step(p.numeratorScale),
        min_size=optional(limits.minAmount),
        max_size=optional(limits.maxAmount),
        min_notional=optional(limits.minExchangeValue),
        state=STATES.get(p.status, "unknown"),
    )
