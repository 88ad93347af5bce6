"""The answers of Deribit's REST address: instruments, and trades that were missed.

https://docs.deribit.com/api-reference/market-data/public-get_instruments
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Trouble
from aggregator.records import Instrument, Kind, Trade
from aggregator.wire import Text, ms, number, optional, text
from connectors.families.deribit.wires import STATES, TradeRow

TOO_MANY = {10028, 10066}  # codes of errors: requests in a time, and at once


class InstrumentWire(Struct):
    instrument_name: str
    kind: str
    base_currency: str
    tick_size: Text
    min_trade_amount: Text
    contract_size: Text = None
    counter_currency: str | None = None
    settlement_currency: str | None = None
    settlement_period: str = ""
    price_index: str | None = None
    expiration_timestamp: int | None = None
    creation_timestamp: int | None = None
    strike: Text = None
    option_type: Literal["call", "put"] | None = None
    is_active: bool = True
    state: str = ""


class Wait(Struct):
    wait: float | None = None


class Error(Struct):
    message: str = ""
    code: int = 0
    data: Wait | None = None


class Erring(Struct):
    error: Error | None = None


class Answer(Struct):
    result: list[Raw]


class PastTrades(Struct):
    trades: list[TradeRow]


class Past(Struct):
    result: PastTrades


PAST_QUOTE = "USD"  # lists of 2021 name neither this nor the settlement: every contract was inverse, in US dollars

decode_error = Decoder(Erring).decode
decode_answer = Decoder(Answer).decode
decode_instrument = Decoder(InstrumentWire, float_hook=number).decode
decode_past = Decoder(Past, float_hook=number).decode


def read_instrument(row: Raw) -> Instrument | None:
    i = decode_instrument(row)
    kinds: dict[str, Kind] = {"spot": "spot", "future": "future", "option": "option"}
    kind = kinds.get(i.kind)
    if kind is None:
        return None  # a combination of instruments
    if i.settlement_period == "perpetual" and kind == "future":
        kind = "perpetual"
    is_dated = kind in {"future", "option"} and i.expiration_timestamp is not None
    quote, settle = i.counter_currency or PAST_QUOTE, i.settlement_currency or i.base_currency
    linear = None if kind == "spot" else settle == quote
    is_inverse_option = kind == "option" and not linear  # its contract is of the base asset
    return Instrument(
        index=i.price_index,
        raw_symbol=i.instrument_name,
        kind=kind,
        base=i.base_currency,
        quote=quote,
        settle=None if kind == "spot" else settle,
        linear=linear,
        contract_size=None if kind == "spot" or is_inverse_option else optional(i.contract_size),
        tick_size=text(i.tick_size),
        lot_size=text(i.min_trade_amount),
        min_size=text(i.min_trade_amount),
        expiry=ms(i.expiration_timestamp or 0) if is_dated else None,
        strike=optional(i.strike),
        option_type=i.option_type,
        state=STATES.get(i.state, "unknown") if i.state else "trading" if i.is_active else "halt",
        ts_listed=None if i.creation_timestamp is None else ms(i.creation_timestamp),
    )


def read_past(_: str, body: bytes) -> Iterable[Trade]:
    return [row.trade() for row in decode_past(body).result.trades]


def trouble(_: int, __: Mapping[str, str], body: bytes) -> Trouble | None:
    """An error is an object beside the result; of too many requests it says how many seconds to wait."""
    error = decode_error(body).error
    if error is None:
        return None
    wait = None if error.data is None else error.data.wait
    return Trouble(f"{error.code}: {error.message}", is_busy=error.code in TOO_MANY, wait=wait)
