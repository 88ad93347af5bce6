"""Toobit's own topics: a book by changes that are counted, the best prices, and indices.

https://api-docs.toobit.com
Its documentation says nothing of `o`, which grew by one a change in 19,627 of them (probes of 2026-09).
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Event
from aggregator.records import MS_NS, BookDelta, BookSnapshot, IndexPrice
from aggregator.sequence import Rule, Verdict, contiguous
from aggregator.wire import Text, bbo, levels, nonzero
from connectors.families.bhex.frames import Said, parsing, read_depths, trades

# A whole book has no number of the same count, so that the first change after it may have any.
counted = Rule("counted", lambda *_: Verdict.NEXT, contiguous.follows, sure=False)


class ChangeRow(Struct, gc=False):
    t: int
    b: list[list[Text]]
    a: list[list[Text]]
    o: int | None = None


class BestRow(Struct, gc=False):
    s: str
    t: int
    b: str | None = None
    bq: str | None = None
    a: str | None = None
    aq: str | None = None


class Best(Struct, gc=False):
    data: list[BestRow] | BestRow
    sendTime: int = 0


class IndexRow(Struct, gc=False):
    symbol: str  # the name of the index
    index: str
    time: int | None = None


decode_indices = Decoder(Said[IndexRow]).decode
decode_changes = Decoder(Said[ChangeRow]).decode
decode_best = Decoder(Best).decode


def read_changes(frame: bytes) -> Iterable[Event]:
    """Read a whole book, which `f` marks, or a change of it."""
    said = decode_changes(frame)
    kind = BookSnapshot if said.f else BookDelta
    sent = said.sendTime * MS_NS or None
    return [
        kind(
            raw_symbol=said.name,
            bids=levels(row.b),
            asks=levels(row.a),
            sequence=None if said.f else row.o,  # a whole book says 0, which would be older than any change
            ts_event=row.t * MS_NS,
            ts_sent=sent,
        )
        for row in said.rows
    ]


def read_best(frame: bytes) -> Iterable[Event]:
    """Read the best prices; the first frame of the topic is empty."""
    said = decode_best(frame)
    rows = said.data if isinstance(said.data, list) else [said.data]
    sent = said.sendTime * MS_NS or None
    return [bbo(row.s, row.b, row.bq, row.a, row.aq, ts_event=row.t * MS_NS, ts_sent=sent) for row in rows]


def read_indices(frame: bytes) -> Iterable[Event]:
    said = decode_indices(frame)
    sent = said.sendTime * MS_NS or None
    for row in said.rows:
        if price := nonzero(row.index):
            at = None if row.time is None else row.time * MS_NS
            yield IndexPrice(raw_symbol=row.symbol, price=price, index=row.symbol, ts_event=at, ts_sent=sent)


parse = parsing(
    {
        "trade": trades(is_buy=True),
        "depth": read_depths,  # whole each time: nobody subscribes to it here
        "diffDepth": read_changes,
        "bookTicker": read_best,
        "index": read_indices,
    }
)
