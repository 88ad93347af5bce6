"""The books of Delta Exchange's stream, and its best prices.

https://docs.delta.exchange/#websocket-feed
"""

from collections.abc import Iterable

from msgspec import Struct, field

from aggregator.errors import BadFrame
from aggregator.exchange import Event, Refused
from aggregator.records import BookDelta, BookSnapshot, Levels
from aggregator.wire import Text, bbo, ms, us

FIRST_US = 10**14  # a time from here on is in microseconds: as milliseconds it would be of the year 5138


def of_book(time: int | None) -> int | None:
    """A time of a book: some whole ones were told in milliseconds (a capture of April 2023)."""
    return None if time is None else us(time) if time >= FIRST_US else ms(time)


class BookWire(Struct, gc=False):
    action: str  # `snapshot`, `update`, or `error`
    sy: str = ""
    a: Levels = []
    b: Levels = []
    seq: int | None = None
    ts: int | None = None
    cs: int | None = None
    msg: str = ""
    symbol: str = ""  # an error has it in place of `sy`, by the documentation

    def events(self) -> Iterable[Event]:
        if self.action == "error":
            reason = f"error: {self.msg}" if self.msg else "error"
            return (Refused(reason, topic=("ob_updates", self.sy or self.symbol), meaning="passing"),)
        if not self.sy:
            raise BadFrame("a book without its market")
        kind = BookSnapshot if self.action == "snapshot" else BookDelta
        return (
            kind(
                raw_symbol=self.sy,
                bids=self.b,
                asks=self.a,
                sequence=self.seq,
                checksum=self.cs,
                ts_sent=of_book(self.ts),
            ),
        )


class ChangesWire(Struct, gc=False):
    """A book by long names."""

    symbol: str
    action: str  # `snapshot`, `update`, or `error`
    asks: Levels = []
    bids: Levels = []
    sequence_no: int | None = None
    timestamp: int | None = None
    cs: int | None = None
    msg: str = ""

    def events(self) -> Iterable[Event]:
        if self.action == "error":
            return (Refused(f"error: {self.msg}", topic=("l2_updates", self.symbol), meaning="passing"),)
        kind = BookSnapshot if self.action == "snapshot" else BookDelta
        return (
            kind(
                raw_symbol=self.symbol,
                bids=self.bids,
                asks=self.asks,
                sequence=self.sequence_no,
                checksum=self.cs,
                ts_sent=of_book(self.timestamp),
            ),
        )


class TopWire(Struct, gc=False):
    """The fifteen best levels a side, twice a second."""

    sy: str
    a: Levels
    b: Levels
    lts: int | None = None  # when the book changed last
    ts: int | None = None

    def events(self) -> Iterable[Event]:
        sent, changed = None if self.ts is None else us(self.ts), None if self.lts is None else us(self.lts)
        book = BookSnapshot(raw_symbol=self.sy, bids=self.b, asks=self.a, depth=15, ts_event=changed, ts_sent=sent)
        book.reason = "periodic"
        yield book


class BestWire(Struct, gc=False):
    sy: str
    bp: Text = None
    bs: Text = None
    ap: Text = None
    as_: Text = field(name="as", default=None)
    lts: int | None = None  # when the book changed last
    ts: int | None = None

    def events(self) -> Iterable[Event]:
        sent, changed = None if self.ts is None else us(self.ts), None if self.lts is None else us(self.lts)
        yield bbo(self.sy, self.bp, self.bs, self.ap, self.as_, ts_event=changed, ts_sent=sent)
