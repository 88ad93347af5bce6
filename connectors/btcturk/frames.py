"""Reading BtcTurk's frames: arrays of a model's number and the model."""

from collections.abc import Callable, Iterable, Mapping

from msgspec import Raw
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Refused
from aggregator.records import BookDelta, BookSnapshot, Candle, Ticker
from aggregator.wire import as_written, bbo, end_of, ms, nonzero, oldest_first, optional, past, seconds, text
from connectors.btcturk.wires import AnswerWire, BookWire, CandleWire, ChangesWire, TickerWire, TradesWire, TradeWire

RESOLUTIONS = {
    "1m": "1",
    "5m": "5",
    "15m": "15",
    "30m": "30",
    "1h": "60",
    "4h": "240",
    "1d": "1D",
    "1w": "1W",
    "1M": "1M",
}
INTERVALS = {resolution: interval for interval, resolution in RESOLUTIONS.items()}
DELETED = 3
FIRST_MS = 10**11  # seconds reach this in the year 5138, and milliseconds reached it in 1973

decode_frame = Decoder(tuple[int, Raw]).decode
decode_trade = Decoder(TradeWire).decode
decode_trades = Decoder(TradesWire).decode
decode_book = Decoder(BookWire).decode
decode_changes = Decoder(ChangesWire).decode
decode_ticker = Decoder(TickerWire, float_hook=as_written).decode
decode_candle = Decoder(CandleWire, float_hook=as_written, strict=False).decode  # its time may be text
decode_answer = Decoder(AnswerWire).decode


def read_answer(body: Raw) -> Iterable[Event]:
    """The answer to a request, named as `join|obdiff:BTCTRY`."""
    answer = decode_answer(body)
    action, _, topic = answer.message.partition("|")
    if action != "join":
        return ()
    return (Accepted(topic=topic) if answer.ok else Refused(answer.message, topic=topic),)


def read_trade(body: Raw) -> Iterable[Event]:
    trade = decode_trade(body)
    return (trade.record(trade.event),)


def read_trades(body: Raw) -> Iterable[Event]:
    """The last fifty trades before the subscription; no source says which of them comes first."""
    last = decode_trades(body)
    return past(oldest_first(row.record(last.event) for row in last.items))


def read_book(body: Raw) -> Iterable[Event]:
    book = decode_book(body)
    bids, asks = ([(text(level.P), text(level.A)) for level in rows] for rows in (book.BO, book.AO))
    return (BookSnapshot(raw_symbol=book.event, bids=bids, asks=asks, sequence=book.CS),)


def read_changes(body: Raw) -> Iterable[Event]:
    book = decode_changes(body)
    bids, asks = (
        [(text(level.P), "0" if level.CP == DELETED else text(level.A)) for level in rows]
        for rows in (book.BO, book.AO)
    )
    return (BookDelta(raw_symbol=book.event, bids=bids, asks=asks, sequence=book.CS),)


def read_ticker(body: Raw) -> Iterable[Event]:
    """The best prices and the day's figures. Its daily change is from the open to the best ask, so it is left out."""
    t = decode_ticker(body)
    day = Ticker(
        raw_symbol=t.event,
        last=nonzero(t.LA),
        open=nonzero(t.O),
        high=nonzero(t.H),
        low=nonzero(t.L),
        base_volume=optional(t.V),
    )
    return bbo(t.event, t.B, t.BA, t.A, t.AA), day


def read_candle(body: Raw) -> Iterable[Event]:
    """A candle as it stands. Clients read its time as seconds, others say milliseconds: the number itself tells."""
    c = decode_candle(body)
    pair, _, resolution = c.event.rpartition("_")
    interval = INTERVALS[resolution]
    start = ms(c.D) if c.D >= FIRST_MS else seconds(c.D)
    candle = Candle(
        raw_symbol=pair,
        interval=interval,
        ts_open=start,
        ts_close=end_of(interval, start),
        open=text(c.O),
        high=text(c.H),
        low=text(c.L),
        close=text(c.C),
        base_volume=optional(c.V),
    )
    return (candle,)


READERS: Mapping[int, Callable[[Raw], Iterable[Event]]] = {
    100: read_answer,
    402: read_ticker,
    421: read_trades,
    422: read_trade,
    428: read_candle,
    431: read_book,
    432: read_changes,
}


def parse(frame: bytes) -> Iterable[Event]:
    number, body = decode_frame(frame)
    read = READERS.get(number)
    return () if read is None else read(body)
