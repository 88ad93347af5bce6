"""The listing."""

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.records import Instrument, MarketState
from aggregator.wire import Text, as_written, optional

STATES: dict[str, MarketState] = {"Running": "trading", "Paused": "halt", "Stopped": "halt", "Starting": "pre_open"}


class InstrumentWire(Struct):
    InstrumentId: int
    Product1Symbol: str
    Product2Symbol: str
    SessionStatus: str = ""
    IsDisable: bool = False
    PriceIncrement: Text = None
    QuantityIncrement: Text = None
    MinimumQuantity: Text = None


rows = Decoder(list[Raw]).decode
decode_instrument = Decoder(InstrumentWire, float_hook=as_written).decode


def read_instrument(row: Raw) -> Instrument:
    m = decode_instrument(row)
    return Instrument(
        raw_symbol=str(m.InstrumentId),
        base=m.Product1Symbol,
        quote=m.Product2Symbol,
        tick_size=optional(m.PriceIncrement),
        lot_size=optional(m.QuantityIncrement),
        min_size=optional(m.MinimumQuantity),
        state="delisted" if m.IsDisable else STATES.get(m.SessionStatus, "unknown"),
    )
