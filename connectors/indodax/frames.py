"""Reading Indodax's frames, and asking for topics."""

from collections.abc import Iterable, Sequence

from aggregator.exchange import Accepted, Event, Ready, Refused, Subscribe, Subscription
from aggregator.records import DAY_S, BookSnapshot, Channel, Ticker, Trade
from aggregator.refusals import meaning_of
from aggregator.wire import encode, nonzero, optional, seconds, text
from connectors.indodax.wires import (
    ErrorWire,
    Message,
    Publication,
    Result,
    SummaryRow,
    TradeRow,
    book_decoder,
    decode_messages,
    decode_pair_of_book,
    decode_rows,
    decode_summaries,
    decode_trades,
)

CHANNELS: dict[Channel, str] = {
    "trades": "market:trade-activity-",
    "book": "market:order-book-",
    "ticker": "market:summary-24h",  # one for all pairs
}

TRADE, SUMMARY = (len(row.__struct_fields__) for row in (TradeRow, SummaryRow))

ALREADY = 105  # the code of a topic that is subscribed to


def read_book(pair: str, data: Publication) -> Event:
    book = book_decoder(pair)(data.data)
    bids, asks = ([(text(level.price), text(level.size)) for level in side] for side in (book.bid, book.ask))
    return BookSnapshot(raw_symbol=pair, bids=bids, asks=asks, sequence=data.offset, reason="periodic")


def number_of(t: TradeRow) -> int:
    return t.number


def read_trade(t: TradeRow) -> Event:
    return Trade(
        raw_symbol=t.pair,
        id=str(t.number),
        price=text(t.price),
        size=text(t.base),
        quote_size=text(t.quote),
        side=t.side,
        ts_event=seconds(t.time),
    )


def read_trades(data: Publication) -> Iterable[Event]:
    return map(read_trade, sorted(decode_trades(data.data), key=number_of))


def read_summary(t: SummaryRow) -> Event:
    return Ticker(
        raw_symbol=t.pair,
        ts_event=seconds(t.time),
        last=nonzero(t.last),
        open=nonzero(t.open),
        high=nonzero(t.high),
        low=nonzero(t.low),
        base_volume=optional(t.base),
        quote_volume=optional(t.quote),
        window_s=DAY_S,
    )


def refused(id: int, error: ErrorWire) -> Event:
    if error.code == ALREADY:
        return Accepted(id=id)  # the topic comes
    said = f"{error.code}: {error.message}"
    return Refused(said, id=id, meaning=meaning_of(said, final=("unknown channel",), passing=("limit exceeded",)))


def answered(id: int, result: Result | None) -> Iterable[Event]:
    """Read an answer without data; those to a ping and to a request that unsubscribes say nothing."""
    if result is None:
        return ()
    if result.client:
        return (Ready(),)
    missed = (event for publication in result.publications for event in read_missed(publication))
    return (Accepted(id=id), *missed) if result.recoverable else ()


def read_missed(missed: Publication) -> Iterable[Event]:
    """Read what an answer brings of a topic, which it does not name."""
    if bytes(missed.data).lstrip()[:1] == b"{":
        return (read_book(decode_pair_of_book(missed.data).pair, missed),)
    of = {len(row) for row in decode_rows(missed.data)}
    if of == {TRADE}:
        return read_trades(missed)
    return map(read_summary, decode_summaries(missed.data)) if of == {SUMMARY} else ()  # () of a chart


def read(message: Message) -> Iterable[Event]:
    if message.error is not None:
        return (refused(message.id, message.error),)
    result = message.result
    if result is None or result.data is None:
        return answered(message.id, result)
    name = result.channel
    if name.startswith(CHANNELS["trades"]):
        return read_trades(result.data)
    if name.startswith(CHANNELS["book"]):
        return (read_book(name.removeprefix(CHANNELS["book"]), result.data),)
    return map(read_summary, decode_summaries(result.data.data)) if name == CHANNELS["ticker"] else ()


def parse(frame: bytes) -> Iterable[Event]:
    """Read a frame, which holds one message or several, each on a line."""
    return [event for message in decode_messages(frame) for event in read(message)]


def topic(s: Subscription) -> str:
    word = CHANNELS[s.channel]
    return word if s.channel == "ticker" else word + s.raw_symbol


def ask(method: int) -> Subscribe:
    def frames(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for s in wanted:  # one, as the stream's `batch` says
            yield encode({"method": method, "params": {"channel": topic(s)}, "id": id})

    return frames
