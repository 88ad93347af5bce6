"""A market's recording with everything that an export has to tell, for tests of exports."""

from pathlib import Path
from typing import Any

from aggregator.records import Bbo, BookDelta, BookSnapshot, Gap, Instrument, Levels, MarkPrice, Record
from tests.support.written import BTC, FIRST, NOON, SECOND_NS, as_lines, numbered, sold

MS_NS = 1_000_000


def at(seconds: float, **more: Any) -> dict[str, Any]:
    """The envelope of a record that arrived so many seconds behind noon, 2 ms after it had happened."""
    ts = NOON + round(seconds * SECOND_NS)
    return {**BTC, "ts_event": ts - 2 * MS_NS, "ts_recv": ts, **more}


def whole(seconds: float, bids: Levels, asks: Levels, **more: Any) -> BookSnapshot:
    return BookSnapshot(**at(seconds), bids=bids, asks=asks, **more)


def changed(seconds: float, bids: Levels, asks: Levels, **more: Any) -> BookDelta:
    return BookDelta(**at(seconds, **more), bids=bids, asks=asks)


def gap(seconds: float, phase: str, ts_from: float, **more: Any) -> Gap:
    fields: dict[str, Any] = {"gap_id": "g", "channel": "book", "cause": "disconnect", "phase": phase, **more}
    return Gap(**at(seconds), ts_from=NOON + round(ts_from * SECOND_NS), **fields)


def instrument() -> Instrument:
    steps: dict[str, Any] = {"tick_size": "0.10", "lot_size": "0.001"}
    return Instrument(**at(-60), kind="spot", base="BTC", quote="USDT", **steps)


def eventful() -> list[Record]:
    """A minute: a book, trades, a gap that is noticed four seconds late, the book anew, and a trade that comes late."""
    return numbered(
        [
            instrument(),
            whole(1, [("100.1", "2"), ("100.0", "1"), ("99.9", "5")], [("100.3", "1"), ("100.4", "4")]),
            Bbo(**at(1.5), bid_price="100.1", bid_size="2", ask_price="100.3", ask_size="1"),
            sold(2, "100.3", "0.5", ts_event=NOON + 2 * SECOND_NS - 3 * MS_NS, id="t1", side="buy"),
            changed(3, [("100.2", "1.5")], [("100.3", "0")]),
            MarkPrice(**at(4), price="100.25"),
            gap(14, "open", 10),
            changed(15, [("100.2", "9")], []),  # nobody may see it
            whole(20, [("101.0", "3")], [("101.2", "7")], reason="resync"),
            gap(20, "close", 10, repair="partial"),
            changed(21, [], [("101.1", "2"), ("101.2", "0")]),
            sold(30, "101.0", "1", ts_event=NOON + 5 * SECOND_NS, id="late", side="sell", flags=("backfill",)),
            sold(31, "101.0", "1", id="b", side="sell", kind="block"),
            changed(40, [("101.0", "0"), ("100.9", "4")], []),
        ]
    )


def recorded(folder: Path) -> Path:
    """That minute as the `files` sink writes it."""
    as_lines(folder / "in/a.ndjson", eventful(), FIRST)
    return folder / "in"
