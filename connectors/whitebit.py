"""WhiteBIT.

https://docs.whitebit.com/websocket/overview
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Details, Limits, Listing, Poll, Request
from aggregator.records import Instrument, OpenInterest, Record
from aggregator.refusals import coded
from aggregator.wire import Text, number, optional, step
from connectors.families import viabtc

API = "https://whitebit.com/api/v4/public"


class MarketWire(Struct):
    name: str
    stock: str
    money: str
    stockPrec: Text  # decimals
    moneyPrec: Text
    minAmount: Text = None
    minTotal: Text = None
    tradesEnabled: bool = True
    type: str = "spot"


class FutureWire(Struct):
    ticker_id: str
    open_interest: Text = None  # in the base asset


class Futures(Struct):
    result: list[FutureWire]


class IntervalWire(Struct):
    ticker_id: str
    funding_interval_minutes: int | None


class Rows(Struct):
    result: list[Raw]


decode_markets = Decoder(list[Raw]).decode
decode_market = Decoder(MarketWire, float_hook=number).decode
decode_futures = Decoder(Futures, float_hook=number).decode
decode_rows = Decoder(Rows).decode
decode_interval = Decoder(IntervalWire).decode


def read_market(row: Raw) -> Instrument:
    wire = decode_market(row)
    is_spot = wire.type not in {"futures", "tradfiFutures"}
    quote = "USDT" if wire.money == "PERP" else wire.money
    return Instrument(
        raw_symbol=wire.name,
        kind="spot" if is_spot else "perpetual",
        base=wire.stock,
        quote=quote,
        settle=None if is_spot else quote,
        linear=None if is_spot else True,
        contract_size=None if is_spot else "1",  # sizes are of the base asset
        tick_size=step(wire.moneyPrec),
        lot_size=step(wire.stockPrec),
        min_size=optional(wire.minAmount),
        min_notional=optional(wire.minTotal),
        state="trading" if wire.tradesEnabled else "halt",
    )


def read_interval(row: Raw) -> Instrument:
    wire = decode_interval(row)
    minutes = wire.funding_interval_minutes
    return Instrument(raw_symbol=wire.ticker_id, kind="perpetual", funding_interval_s=minutes * 60 if minutes else None)


def read_futures(_: str, body: bytes) -> Iterable[Record]:
    for wire in decode_futures(body).result:
        if (size := optional(wire.open_interest)) is not None:
            yield OpenInterest(raw_symbol=wire.ticker_id, size=size)


EXCHANGE = viabtc.exchange(
    "whitebit",
    docs="https://docs.whitebit.com/websocket/overview",
    checked="2026-09, live probes by others",
    ws="wss://wss.whitebit.com/ws",
    listing=Listing(
        (Request(f"{API}/markets"),),
        decode_markets,
        read_market,
        details=(Details(Request(f"{API}/futures"), lambda body: decode_rows(body).result, read_interval),),
    ),
    polls=(
        Poll(
            name="futures",
            channels=("open_interest",),
            every=30,
            request=lambda _: Request(f"{API}/futures"),
            parse=read_futures,
            serves=viabtc.is_contract,
            many=True,
        ),
    ),
    limits=Limits(weights={API: ((2000, 10),)}, connects=(1000, 60)),
    trouble=coded("success", "message", fine=("true",)),
    notes=(
        "The book is without orders that only its own users can meet (RPI).",
        "A whole book comes again whenever nothing has changed for ten seconds.",
        "Candles come on a connection for each market: a subscription takes the place of the one before.",
    ),
)
