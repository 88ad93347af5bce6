"""The messages of Alpaca's crypto stream in its own spelling, and the records that they make.

https://docs.alpaca.markets/docs/real-time-crypto-pricing-data
https://docs.alpaca.markets/docs/streaming-market-data
Every frame is a list. All that stands answers each request, so that a symbol that is not known is not named.
"""

from collections.abc import Iterable

from msgspec import Raw, Struct, ValidationError, field
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Denied, Event, Hangup, Ready, Refused
from aggregator.records import DAY_S, SECOND_NS, BookDelta, BookSnapshot, Candle, Side, Trade
from aggregator.wire import Text, as_written, bbo, end_of, from_iso, optional, text

TAKERS: dict[str, Side | None] = {"B": "buy", "S": "sell", "-": None}


class TradeWire(Struct, tag_field="T", tag="t", gc=False):
    S: str
    p: Text
    s: Text
    t: str
    i: Text = None
    tks: str | None = None  # the taker's side, B or S; its clients know a "-" too, where it is not known

    def events(self) -> Iterable[Event]:
        yield Trade(
            raw_symbol=self.S,
            id=optional(self.i),
            price=text(self.p),
            size=text(self.s),
            side=TAKERS[self.tks] if self.tks else None,
            ts_event=from_iso(self.t),
        )


class QuoteWire(Struct, tag_field="T", tag="q", gc=False):
    S: str
    bp: Text
    bs: Text
    ap: Text
    as_: Text = field(default=None, name="as")
    t: str = ""

    def events(self) -> Iterable[Event]:
        yield bbo(self.S, self.bp, self.bs, self.ap, self.as_, ts_event=from_iso(self.t))


class LevelWire(Struct, gc=False):
    p: Text
    s: Text


class BookWire(Struct, tag_field="T", tag="o", gc=False):
    S: str
    t: str
    b: list[LevelWire]
    a: list[LevelWire]
    r: bool = False  # it is the whole book

    def events(self) -> Iterable[Event]:
        yield (BookSnapshot if self.r else BookDelta)(
            raw_symbol=self.S,
            bids=[(text(level.p), text(level.s)) for level in self.b],
            asks=[(text(level.p), text(level.s)) for level in self.a],
            ts_event=from_iso(self.t),
        )


class BarWire(Struct, tag_field="T", tag="b", gc=False):
    """A minute, sent when it is over: a trade that comes late still changes it."""

    S: str
    o: Text
    h: Text
    low: Text = field(name="l")
    c: Text
    v: Text
    t: str
    n: int | None = None

    def events(self) -> Iterable[Event]:
        yield self.candle("1m")

    def candle(self, interval: str, *, closed: bool | None = None) -> Candle:
        """A candle. A day that does not begin with one of UTC has an hour more or less where clocks are changed."""
        start = from_iso(self.t)
        return Candle(
            raw_symbol=self.S,
            interval=interval,
            ts_open=start,
            ts_close=None if interval == "1d" and start % (DAY_S * SECOND_NS) else end_of(interval, start),
            open=text(self.o),
            high=text(self.h),
            low=text(self.low),
            close=text(self.c),
            base_volume=text(self.v),
            trades=self.n,
            closed=closed,
        )


class UpdatedBarWire(BarWire, tag_field="T", tag="u", gc=False):
    """A minute that a late trade has changed."""


class DailyBarWire(BarWire, tag_field="T", tag="d", gc=False):
    """The day so far, sent each minute."""

    def events(self) -> Iterable[Event]:
        yield self.candle("1d", closed=False)


class SuccessWire(Struct, tag_field="T", tag="success"):
    msg: str

    def events(self) -> Iterable[Event]:
        return (Ready(),) if self.msg == "authenticated" else ()


class StandingWire(Struct, tag_field="T", tag="subscription"):
    """All that this connection has subscribed to."""

    trades: list[str] = []
    quotes: list[str] = []
    orderbooks: list[str] = []
    bars: list[str] = []
    dailyBars: list[str] = []

    def events(self) -> Iterable[Event]:
        for word in self.__struct_fields__:
            yield from (Accepted(topic=(word, symbol)) for symbol in getattr(self, word))


class ErrorWire(Struct, tag_field="T", tag="error"):
    code: int
    msg: str = ""

    def events(self) -> Iterable[Event]:
        said = f"{self.code}: {self.msg}"
        match self.code:
            case 402 | 409:  # auth failed, insufficient subscription
                yield Denied(said)
            case 401 | 404 | 406 | 407:  # not authenticated, auth timeout, connection limit exceeded, slow client
                yield Hangup(said)
            case 410:  # invalid subscribe action for this feed
                yield Refused(said, meaning="final")
            case 403:  # already authenticated
                return
            case _:  # 400 invalid syntax, of a symbol too; 405 symbol limit exceeded; 500 internal error
                yield Refused(said)


Wire = (
    TradeWire | QuoteWire | BookWire | BarWire | UpdatedBarWire | DailyBarWire | SuccessWire | StandingWire | ErrorWire
)
TAGS = {"t", "q", "o", "b", "u", "d", "success", "subscription", "error"}


class Tagged(Struct):
    T: str = ""


decode = Decoder(list[Wire], float_hook=as_written).decode
decode_one = Decoder(Wire, float_hook=as_written).decode
decode_parts = Decoder(list[Raw]).decode
decode_tag = Decoder(Tagged).decode


def parse(frame: bytes) -> Iterable[Event]:
    frame = frame if frame[:1] == b"[" else b"[%b]" % frame
    try:
        found = decode(frame)
    except ValidationError:  # perhaps a kind of message that is new
        found = [decode_one(part) for part in decode_parts(frame) if decode_tag(part).T in TAGS]
    return [event for wire in found for event in wire.events()]
