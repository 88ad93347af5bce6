"""Answers by REST, the listing among them."""

from collections.abc import Iterable, Mapping

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Trouble
from aggregator.records import Instrument, Record
from aggregator.wire import Text, as_written, optional, step
from connectors.bitbns.wires import TickerWire


class Answer(Struct):
    """The answer that comes where something is wrong, in a list of one."""

    status: int = 1
    msg: str = ""


class Precision(Struct):
    amount: Text = None
    price: Text = None


class Least(Struct, frozen=True):
    min: Text = None


class Limits(Struct, frozen=True):
    amount: Least = Least()
    cost: Least = Least()  # in the quote asset


class Market(Struct):
    symbol: str  # `BTC/INR`
    base: str
    quote: str
    precision: Precision
    active: bool = True
    limits: Limits = Limits()


decode_answers = Decoder(list[Answer]).decode
decode_markets = Decoder(list[Raw]).decode
decode_market = Decoder(Market, float_hook=as_written).decode
decode_tickers = Decoder(dict[str, TickerWire], float_hook=as_written).decode


def trouble(_: int, __: Mapping[str, str], body: bytes) -> Trouble | None:
    """An error comes with HTTP 200: `[{"status":0,"msg":"..."}]`."""
    if not body.startswith(b'[{"status"'):
        return None
    return next((Trouble(said.msg) for said in decode_answers(body) if said.status != 1), None)


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    return Instrument(
        raw_symbol=m.symbol,
        base=m.base,
        quote=m.quote,
        tick_size=step(m.precision.price),
        lot_size=step(m.precision.amount),
        min_size=optional(m.limits.amount.min),
        min_notional=optional(m.limits.cost.min),
        state="trading" if m.active else "halt",
    )


def read_tickers(_: str, body: bytes) -> Iterable[Record]:
    for symbol, ticker in decode_tickers(body).items():
        yield from ticker.records(symbol)
