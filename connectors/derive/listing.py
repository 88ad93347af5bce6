"""Reading what Derive lists: perpetuals, options and spot, each in pages.

https://docs.derive.xyz/api-reference/market-data/publicget_all_instruments
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder, decode

from aggregator.exchange import Listing, Request
from aggregator.records import HOUR_S, SECOND_NS, Instrument, Kind
from aggregator.wire import Text, at, encode, number, optional

KINDS: dict[str, Kind] = {"perp": "perpetual", "option": "option", "erc20": "spot"}
SIDES: dict[str, Literal["call", "put"]] = {"C": "call", "P": "put"}


def asking(kind: str, page: int = 1) -> Request:
    return Request(
        "https://api.derive.xyz/v3/public/get_all_instruments",
        method="POST",
        body=encode({"expired": False, "instrument_type": kind, "page": page, "page_size": 1000}),
        headers={"Content-Type": "application/json"},
    )


class OptionWire(Struct):
    expiry: int  # in seconds
    strike: Text
    option_type: str


class InstrumentWire(Struct):
    instrument_name: str
    instrument_type: str
    base_currency: str
    quote_currency: str
    is_active: bool = True
    scheduled_activation: int | None = None  # in seconds
    tick_size: Text = None
    amount_step: Text = None
    minimum_amount: Text = None
    maximum_amount: Text = None
    option_details: OptionWire | None = None


class Pagination(Struct):
    num_pages: int = 1


class Result(Struct):
    pagination: Pagination


class Answer(Struct):
    result: Result


decode_instrument = Decoder(InstrumentWire, strict=False, float_hook=number).decode
decode_answer = Decoder(Answer, strict=False).decode


def more(request: Request, body: bytes) -> Iterable[Request]:
    """The first page says how many there are."""
    asked = decode(request.body or b"{}", type=dict[str, object])
    if asked["page"] == 1:
        for page in range(2, decode_answer(body).result.pagination.num_pages + 1):
            yield asking(str(asked["instrument_type"]), page)


def read_instrument(row: Raw) -> Instrument | None:
    i = decode_instrument(row)
    kind = KINDS.get(i.instrument_type)
    if kind is None:
        return None
    is_spot, option = kind == "spot", i.option_details
    return Instrument(
        raw_symbol=i.instrument_name,
        kind=kind,
        base=i.base_currency,
        quote=i.quote_currency,
        settle=None if is_spot else "USDC",
        linear=None if is_spot else True,
        contract_size=None if is_spot else "1",
        tick_size=optional(i.tick_size),
        lot_size=optional(i.amount_step),
        min_size=optional(i.minimum_amount),
        max_size=optional(i.maximum_amount),
        expiry=None if option is None else option.expiry * SECOND_NS,
        strike=None if option is None else optional(option.strike),
        option_type=None if option is None else SIDES.get(option.option_type),
        state="trading" if i.is_active else "halt",
        ts_listed=None if i.scheduled_activation is None else i.scheduled_activation * SECOND_NS,
        funding_interval_s=HOUR_S if kind == "perpetual" else None,
    )


LISTING = Listing(tuple(map(asking, KINDS)), at("result", "instruments"), read_instrument, more)
