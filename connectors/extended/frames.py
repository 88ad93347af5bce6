"""Reading Extended's frames: data of a subscription, or an answer by JSON-RPC.

https://api.docs.extended.exchange/#public-websocket-streams
The socket that carries many subscriptions is in no documentation: it is that of the exchange's own client (2.6.0), and
others have read it (2026-09). Its frames are numbered over the whole connection, from 0 on. Those of the sockets of one
stream each, as captures hold them, have no name of their subscription; `d` says whether a book is the best prices alone
(live frames of September 2026).
"""

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused, Subscription
from aggregator.records import MS_NS, BookDelta, BookSnapshot, Channel, IndexPrice, MarkPrice
from aggregator.refusals import meaning_of
from aggregator.sequence import Count
from aggregator.wire import bbo, number
from connectors.extended.wires import (
    INTERVALS,
    BarWire,
    BookWire,
    Fault,
    Frame,
    FundingWire,
    PriceWire,
    Result,
    Side,
    TradeWire,
    changed,
    whole,
)

SPOT: dict[Channel, str] = {
    "trades": "trades",
    "book": "orderbooks",
    "bbo": "orderbooks.1",
    "candles": "candles.last",
}
CHANNELS: dict[Channel, str] = {
    **SPOT,
    "liquidations": "trades",
    "funding": "funding-rates",
    "mark_price": "prices.mark",
    "index_price": "prices.index",
}


decode_frame = Decoder(Frame, strict=False).decode
decode_trades = Decoder(list[TradeWire], strict=False, float_hook=number).decode
decode_book = Decoder(BookWire, float_hook=number).decode
decode_funding = Decoder(FundingWire, strict=False, float_hook=number).decode
decode_price = Decoder(PriceWire, strict=False, float_hook=number).decode
decode_bars = Decoder(list[BarWire], strict=False, float_hook=number).decode
PRICES: dict[str, type[MarkPrice] | type[IndexPrice]] = {"MP": MarkPrice, "IP": IndexPrice}


def topic(s: Subscription) -> str:
    """The exchange's name of a topic: `trades.BTC-USD`, `candles.last.BTC-USD.PT1M`."""
    name = f"{CHANNELS[s.channel]}.{s.raw_symbol}"
    return f"{name}.{INTERVALS.get(s.interval, s.interval)}" if s.channel == "candles" else name


def scope_of(said: Frame) -> str:
    """The kind of data; where no subscription is named, its type or its shape tells."""
    if said.subscription:
        return said.subscription.partition(".")[0]
    data = bytes(said.data)
    if said.type in {"SNAPSHOT", "DELTA"}:
        return "orderbooks"
    if said.type in PRICES:
        return "prices"
    return "trades" if b'"tT"' in data else "funding-rates" if b'"f"' in data else ""


class State(Struct):
    """A connection's memory.

    count: the numbers of its frames
    adds: whether changes of books tell by how much a size has changed, and no more; null: none has come yet
    held: market -> the sizes of its book, kept only as long as they may be needed for that
    """

    count: Count
    adds: bool | None = None
    held: dict[str, tuple[Side, Side]] = {}


def read_trades(said: Frame, sent: int, _: State) -> Iterable[Event]:
    return [record for trade in decode_trades(said.data) for record in trade.records(sent)]


def read_book(said: Frame, sent: int, state: State) -> Iterable[Event]:
    """A whole book, a change of one, or (of depth 1) the best prices; a change without its book is within the next."""
    row = decode_book(said.data)
    if row.d == "1" or said.subscription.startswith("orderbooks.1."):
        bid, ask = ((side[0].p, side[0].q) if side else (None, None) for side in (row.b, row.a))
        return (bbo(row.m, *bid, *ask, ts_sent=sent),)
    if said.subscription.endswith(".rfq"):
        return ()
    before, number = state.count.tell(row.m), said.seq
    if (said.type or "").endswith("SNAPSHOT"):
        bids, asks = whole(row.b), whole(row.a)
        if state.adds is not False:
            state.held[row.m] = dict(bids), dict(asks)
        return (BookSnapshot(raw_symbol=row.m, bids=bids, asks=asks, sequence=number, ts_sent=sent),)
    if state.adds is None and (row.b or row.a):
        state.adds = (row.b or row.a)[0].c is None
        if not state.adds:
            state.held.clear()
    held = state.held.get(row.m) if state.adds else ({}, {})
    if held is None:
        return ()
    bids, asks = (changed(side, rows, adds=bool(state.adds)) for side, rows in zip(held, (row.b, row.a), strict=True))
    return (BookDelta(raw_symbol=row.m, bids=bids, asks=asks, sequence=number, sequence_prev=before, ts_sent=sent),)


def read_funding(said: Frame, sent: int, _: State) -> Iterable[Event]:
    return decode_funding(said.data).records(sent)


def read_price(said: Frame, sent: int, _: State) -> Iterable[Event]:
    return decode_price(said.data).records(PRICES[(said.type or "").rpartition(".")[2]], sent)


def read_bars(said: Frame, sent: int, _: State) -> Iterable[Event]:
    """Candles of trades; those of mark and index prices are passed over."""
    __, kind, rest = said.subscription.split(".", 2)
    raw_symbol, __, interval = rest.rpartition(".")
    return [bar.record(raw_symbol, interval, sent) for bar in decode_bars(said.data)] if kind == "last" else ()


READERS: dict[str, Callable[[Frame, int, State], Iterable[Event]]] = {
    "trades": read_trades,
    "orderbooks": read_book,
    "funding-rates": read_funding,
    "prices": read_price,
    "candles": read_bars,
}


def read_data(said: Frame, state: State) -> Iterable[Event]:
    if said.seq is None or said.ts is None:
        raise BadFrame("neither data of a subscription nor an answer")
    state.count.hear(said.seq)
    scope = scope_of(said)
    if not scope:
        raise BadFrame("data that does not say of which subscription it is")
    read = READERS.get(scope)
    return () if read is None else [*read(said, said.ts * MS_NS, state)]


def parser() -> Parse:
    """A parser that counts frames; one that cannot be read may have been of any book."""
    state = State(Count())

    def parse(frame: bytes) -> Iterable[Event]:
        said = decode_frame(frame)
        if said.id is not None or said.error:
            return read_answer(said)
        try:
            return read_data(said, state)
        except Exception:
            state.count.lose()
            raise

    return parse


def read_answer(said: Frame) -> Iterable[Event]:
    """An answer has the number of its request, which has one topic; only what subscribes has one above 0."""
    if said.error:
        fault = said.error if isinstance(said.error, Fault) else Fault(message=said.error)
        reason = f"{fault.code}: {fault.message}".removeprefix(": ")
        meaning = meaning_of(reason, final=("not found", "Invalid"), passing=("rate limit", "too many", "429"))
        return () if said.id is not None and said.id <= 0 else (Refused(reason, id=said.id, meaning=meaning),)
    result = said.result or Result()
    return (Accepted(id=said.id, topic=result.subscription),) if result.method == "subscribe" else ()
