"""Version 1 of the OKX protocol, beside which version 3 began in 2018: lists of data of a channel that names all else.

https://github.com/okcoin-okex/API-docs-OKEx.com (WebSocket API for spot, and for futures)
A dated contract goes by the week of its delivery alone: `BTC-USD-this_week`. A trade has the hour of China and no day,
so that its time is not told. A book comes whole behind the answer to its request, then as changes; nothing else tells
the two apart.
"""

import re
from collections.abc import Callable, Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.book import OrderBook
from aggregator.errors import BadFrame
from aggregator.exchange import Event, Ignored
from aggregator.records import (
    DAY_S,
    BookDelta,
    BookSnapshot,
    Candle,
    IndexPrice,
    Levels,
    OpenInterest,
    Record,
    Side,
    SizeUnit,
    Ticker,
    Trade,
)
from aggregator.wire import Text, as_written, bbo, candle, ms, nonzero, optional, text

NAME = re.compile(
    r"ok_sub_(?P<market>spot|future)(?P<quoted>usd|cny|eur)?_(?P<assets>[a-z0-9]+(?:_[a-z0-9]+)?)"
    r"_(?P<kind>ticker|depth|deals|trades?|kline|index)"
    r"(?:_(?P<week>this_week|next_week|quarter))?(?:_(?P<more>\w+))?",
    re.ASCII,
)
SIDES: dict[str, Side] = {"bid": "buy", "ask": "sell"}  # the taker's
INTERVALS = {"day": "1d", "3day": "3d", "week": "1w"}  # all others are like `1min` and `1hour`


class Frame(Struct):
    channel: str = ""
    data: Raw = Raw(b"")


class Answer(Struct):
    result: bool | str = False
    channel: str = ""


class LevelRow(Struct, gc=False):
    """A level as spot had it in 2019."""

    price: Text
    volume: Text


class BookData(Struct, gc=False):
    asks: list[list[Text] | LevelRow]
    bids: list[list[Text] | LevelRow]
    timestamp: Text = None
    update_time: Text = None  # its name in 2019

    def sides(self) -> tuple[Levels, Levels]:
        """Both sides, the best first: in which order levels come is not told."""
        book = OrderBook([level(row) for row in self.bids], [level(row) for row in self.asks])
        return book.bids(), book.asks()


class TickerData(Struct, gc=False):
    last: Text = None
    high: Text = None
    low: Text = None
    vol: Text = None  # contracts, of a contract
    buy: Text = None
    sell: Text = None
    hold_amount: Text = None  # contracts; spot has none
    timestamp: Text = None  # spot alone has it


class IndexData(Struct, gc=False):
    futureIndex: Text
    timestamp: Text = None


class Topic(Struct, frozen=True):
    """The words in the name of a channel."""

    kind: str
    name: str
    unit: SizeUnit
    more: str


decode = Decoder(list[Frame]).decode
decode_answer = Decoder(Answer).decode
decode_book = Decoder(BookData, float_hook=as_written).decode
decode_ticker = Decoder(TickerData, float_hook=as_written).decode
decode_index = Decoder(IndexData, float_hook=as_written).decode
decode_rows = Decoder(list[list[Text]], float_hook=as_written).decode


def level(row: list[Text] | LevelRow) -> tuple[str, str]:
    return (text(row.price), text(row.volume)) if isinstance(row, LevelRow) else (text(row[0]), text(row[1]))


def time(stamp: Text) -> int | None:
    return None if stamp is None else ms(text(stamp))


def topic(channel: str) -> Topic | None:
    """Read the name of a channel; None for one of no use, and of a pair whose quote is not named."""
    found = NAME.fullmatch(channel)
    if found is None:
        return None
    base, _, quote = found["assets"].partition("_")
    quote = quote or found["quoted"] or ""
    is_contract = found["market"] == "future"
    is_named = bool(quote) and (not is_contract or found["kind"] == "index" or found["week"] is not None)
    name = "-".join(filter(None, (base.upper(), quote.upper(), found["week"])))
    return Topic(found["kind"], name, "contract" if is_contract else "base", found["more"] or "") if is_named else None


def read_trades(t: Topic, data: Raw) -> Iterable[Event]:
    for row in decode_rows(data):
        id, price, size, _, side, *_ = row
        yield Trade(
            raw_symbol=t.name, id=text(id), price=text(price), size=text(size), side=SIDES[side], size_unit=t.unit
        )


def read_ticker(t: Topic, data: Raw) -> Iterable[Record]:
    d = decode_ticker(data)
    at, is_spot = time(d.timestamp), t.unit == "base"
    yield Ticker(
        raw_symbol=t.name,
        last=nonzero(d.last),
        high=nonzero(d.high),
        low=nonzero(d.low),
        base_volume=optional(d.vol) if is_spot else None,
        contract_volume=None if is_spot else optional(d.vol),
        window_s=DAY_S,
        ts_event=at,
    )
    yield bbo(t.name, d.buy, None, d.sell, None, ts_event=at)
    if (held := optional(d.hold_amount)) is not None:
        yield OpenInterest(raw_symbol=t.name, size=held, size_unit="contract")


def read_bar(t: Topic, row: list[Text]) -> Candle:
    """A candle; of a contract the volume in the base asset stands behind that in contracts."""
    start, first, high, low, last, volume, *rest = row
    interval = INTERVALS.get(t.more) or t.more.replace("min", "m").replace("hour", "h")
    is_spot = t.unit == "base"
    base = volume if is_spot else rest[0] if rest else None
    made = candle(t.name, interval, ms(text(start)), (first, high, low, last), base=base)
    made.contract_volume = None if is_spot else text(volume)
    return made


def read_bars(t: Topic, data: Raw) -> Iterable[Event]:
    return [read_bar(t, row) for row in decode_rows(data)]


def read_index(t: Topic, data: Raw) -> Iterable[Record]:
    d = decode_index(data)
    if price := nonzero(d.futureIndex):
        yield IndexPrice(raw_symbol=t.name, price=price, index=t.name, ts_event=time(d.timestamp))


def read_book(t: Topic, data: Raw, *, is_first: bool) -> BookSnapshot | BookDelta:
    d = decode_book(data)
    at = time(d.update_time if d.timestamp is None else d.timestamp)
    if t.more.isdecimal() or is_first:
        bids, asks = d.sides()
        return BookSnapshot(
            raw_symbol=t.name,
            bids=bids,
            asks=asks,
            depth=int(t.more) if t.more else None,
            reason="periodic" if t.more else "initial",
            ts_event=at,
        )
    return BookDelta(raw_symbol=t.name, bids=list(map(level, d.bids)), asks=list(map(level, d.asks)), ts_event=at)


def read(frame: bytes, asked: set[str]) -> Iterable[Event]:
    """The events of a frame; `asked` are the channels that were granted and have not come yet."""
    return [event for said in decode(frame) for event in read_one(said, asked)]


def read_one(said: Frame, asked: set[str]) -> Iterable[Event]:
    if not said.channel:
        raise BadFrame("data that names no channel")
    if said.channel == "addChannel":
        answer = decode_answer(said.data)
        if answer.result in {True, "true"}:
            asked.add(answer.channel)
        return ()
    is_first = said.channel in asked
    asked.discard(said.channel)
    t = topic(said.channel)
    if t is None:
        return (Ignored(f"the channel {said.channel[:60]} is of no use, or names no market"),)
    if t.kind == "depth":
        return (read_book(t, said.data, is_first=is_first),)
    return READERS.get(t.kind, read_trades)(t, said.data)


READERS: dict[str, Callable[[Topic, Raw], Iterable[Event]]] = {
    "ticker": read_ticker,
    "kline": read_bars,
    "index": read_index,
}
