"""Reading Lighter's frames.

https://apidocs.lighter.xyz/docs/websocket-reference
A topic is asked for as `order_book/0`, and told as `order_book:0`. The first frame of its data is the answer.
"""

import re
from collections.abc import Callable, Iterable

from msgspec import Struct, field
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused, Reply, Subscription
from aggregator.records import Channel, Record
from aggregator.refusals import meaning_of, named_in
from aggregator.wire import either, ms, number, past, us
from connectors.lighter.wires import BarWire, BestWire, BookWire, FiguresWire, Trades, each

MARKET: dict[Channel, str] = {"trades": "trade", "book": "order_book", "bbo": "ticker", "candles": "candle"}
CONTRACTS: dict[Channel, str] = {
    **MARKET,
    "liquidations": "trade",
    "ticker": "market_stats",
    "funding": "market_stats",
    "open_interest": "market_stats",
    "mark_price": "market_stats",
    "index_price": "market_stats",
}
SPOT: dict[Channel, str] = {**MARKET, "ticker": "spot_market_stats", "index_price": "spot_market_stats"}
NAMED = re.compile(r"\b((?:order_book|trade|ticker|candle|market_stats|spot_market_stats)[/:][0-9a-z/:]{1,20})")
FINAL, PASSING = ("30005", "Invalid Channel"), ("30009", "30010", "23000", "23001", "Too Many")


class Frame(Struct, gc=False):
    """The head of data, of which the first of a topic confirms it."""

    channel: str
    type: str
    timestamp: int | None = None  # when the message was sent, in milliseconds
    last_updated_at: int | None = None  # when the book changed last, in microseconds; 0: never

    @property
    def answer(self) -> tuple[Event, ...]:
        return (Accepted(topic=self.channel),) if self.type.startswith("subscribed") else ()

    @property
    def times(self) -> tuple[int | None, int | None]:
        at, sent = self.last_updated_at, self.timestamp
        return us(at) if at else None, None if sent is None else ms(sent)

    @property
    def market(self) -> str:
        return self.channel.split(":")[1]


class TradeFrame(Frame, kw_only=True):
    trades: Trades
    liquidation_trades: Trades = None


class BookFrame(Frame, kw_only=True):
    order_book: BookWire


class BestFrame(Frame, kw_only=True):
    ticker: BestWire | None = None  # an update that says nothing of them leaves it out


class BarFrame(Frame, kw_only=True):
    candles: list[BarWire]


class FiguresFrame(Frame, kw_only=True):
    figures: FiguresWire = field(name="market_stats")


class AllFiguresFrame(Frame, kw_only=True):
    figures: dict[str, FiguresWire] = field(name="market_stats")


class SpotFrame(Frame, kw_only=True):
    figures: FiguresWire = field(name="spot_market_stats")


class AllSpotFrame(Frame, kw_only=True):
    figures: dict[str, FiguresWire] = field(name="spot_market_stats")


class Fault(Struct):
    code: int | str = ""
    message: str = ""


class Other(Struct):
    type: str = ""
    channel: str = ""
    error: Fault | None = None


decode_trades = Decoder(TradeFrame, strict=False, float_hook=number).decode
decode_book = Decoder(BookFrame, strict=False, float_hook=number).decode
decode_best = Decoder(BestFrame, strict=False, float_hook=number).decode
decode_bars = Decoder(BarFrame, strict=False, float_hook=number).decode
decode_figures = either(
    Decoder(FiguresFrame, strict=False, float_hook=number).decode, Decoder(AllFiguresFrame, float_hook=number).decode
)
decode_spot = either(
    Decoder(SpotFrame, strict=False, float_hook=number).decode, Decoder(AllSpotFrame, float_hook=number).decode
)
decode_other = Decoder(Other).decode


def read_trades(frame: bytes) -> Iterable[Event]:
    said = decode_trades(frame)
    trades = sorted((*each(said.trades), *each(said.liquidation_trades)), key=lambda trade: trade.trade_id)
    records: list[Record] = [record for trade in trades for record in trade.records()]
    return [*said.answer, *past(records)] if said.answer else records


def read_book(frame: bytes) -> Iterable[Event]:
    said = decode_book(frame)
    if said.answer:
        return [*said.answer, said.order_book.whole(said.market, *said.times)]
    return (said.order_book.delta(said.market, *said.times),)


def read_best(frame: bytes) -> Iterable[Event]:
    said = decode_best(frame)
    return said.answer if said.ticker is None else (*said.answer, said.ticker.record(said.market, *said.times))


def read_bars(frame: bytes) -> Iterable[Event]:
    said = decode_bars(frame)
    interval = said.channel.rpartition(":")[2]
    bars = [bar.record(said.market, interval) for bar in said.candles]
    return [*said.answer, *past(bars)] if said.answer else bars


def figures(decode: Callable[[bytes], FiguresFrame | AllFiguresFrame | SpotFrame | AllSpotFrame]) -> Parse:
    """A reader of the figures of one market, or of all."""

    def read(frame: bytes) -> Iterable[Event]:
        said = decode(frame)
        markets = said.figures.values() if isinstance(said.figures, dict) else (said.figures,)
        return [*said.answer, *(record for market in markets for record in market.records(said.times[1]))]

    return read


READERS: dict[bytes, Parse] = {
    b"trade": read_trades,
    b"order_book": read_book,
    b"ticker": read_best,
    b"candle": read_bars,
    b"market_stats": figures(decode_figures),
    b"spot_market_stats": figures(decode_spot),
}
DATA = ("subscribed/", "update/")
PONG = b'{"type":"pong"}'
HEAD = b'{"channel":"'


def parse(frame: bytes) -> Iterable[Event]:
    if frame.startswith(HEAD):  # hot: most frames begin so
        read: Callable[[bytes], Iterable[Event]] | None = READERS.get(frame[len(HEAD) : frame.find(b":", len(HEAD))])
        if read is not None:
            return read(frame)
    said = decode_other(frame)
    if said.error is not None:
        return parse_fault(said.error)
    if said.type == "ping":
        return (Reply(PONG),)
    if not said.type:
        raise BadFrame("neither data nor an answer")
    read = READERS.get(said.channel.partition(":")[0].encode()) if said.type.startswith(DATA) else None
    return () if read is None else read(frame)


def parse_fault(fault: Fault) -> Iterable[Event]:
    """An error names its topic in words, if at all."""
    reason = f"{fault.code}: {fault.message}"
    words = named_in(reason, NAMED)
    topic = None if words is None else words[1].replace("/", ":")
    if "Already Subscribed" in reason and topic is not None:
        return (Accepted(topic=topic),)
    if "Not Subscribed" in reason:
        return ()
    return (Refused(reason, topic=topic, meaning=meaning_of(reason, final=FINAL, passing=PASSING)),)


def topic_of(words: dict[Channel, str]) -> Callable[[Subscription], str]:
    """The name of a topic as frames tell it."""

    def topic(s: Subscription) -> str:
        name = f"{words[s.channel]}:{s.raw_symbol}"
        return f"{name}:{s.interval}" if s.channel == "candles" else name

    return topic
