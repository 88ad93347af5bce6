"""Reading what GRVT lists.

https://api-docs.grvt.io/market_data_api/#get-all-instruments
"""

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Listing, Request
from aggregator.records import HOUR_S, Instrument
from aggregator.wire import Text, at, encode, number, optional


class InstrumentWire(Struct):
    instrument: str
    base: str
    quote: str
    kind: str
    tick_size: Text = None
    min_size: Text = None  # the step of sizes, too
    min_notional: Text = None
    create_time: int | None = None  # in nanoseconds
    funding_interval_hours: int = 0


decode_instrument = Decoder(InstrumentWire, strict=False, float_hook=number).decode


def read_instrument(row: Raw) -> Instrument | None:
    """A perpetual. Futures and options are documented, but a name says no more of their end than the day."""
    i = decode_instrument(row)
    if i.kind != "PERPETUAL":
        return None
    return Instrument(
        raw_symbol=i.instrument,
        kind="perpetual",
        base=i.base,
        quote=i.quote,
        settle=i.quote,
        linear=True,
        contract_size="1",
        tick_size=optional(i.tick_size),
        lot_size=optional(i.min_size),
        min_size=optional(i.min_size),
        min_notional=optional(i.min_notional),
        ts_listed=i.create_time,
        funding_interval_s=i.funding_interval_hours * HOUR_S or None,
    )


LISTING = Listing(
    (
        Request(
            "https://market-data.grvt.io/full/v1/all_instruments",
            method="POST",
            body=encode({"is_active": True}),
            headers={"Content-Type": "application/json"},
        ),
    ),
    at("result"),
    read_instrument,
)
