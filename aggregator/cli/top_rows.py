"""The rows of `aggregator top`: what a status says of exchanges, topics, sinks and clients, and how rates went."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from aggregator.daemon.printable import printable
from aggregator.daemon.status import FINE, DaemonStatus, ExchangeStatus

KEPT = 60  # rates of each exchange
BARS = "▁▂▃▄▅▆▇█"
MOST_CHARACTERS = 60  # a text in a cell has no more

Cell = str | int | float


class Sheet(Struct, frozen=True):
    """One table: the names of its columns, and its rows; the first cell of each names it."""

    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]

    def sorted(self, column: int, *, is_descending: bool) -> list[tuple[Cell, ...]]:
        """The rows by a column; numbers before texts, and rows that are equal by their names."""

        def key(row: tuple[Cell, ...]) -> tuple[bool, float, str]:
            cell = row[column]
            return isinstance(cell, str), 0.0 if isinstance(cell, str) else float(cell), str(cell)

        return sorted(sorted(self.rows, key=lambda row: str(row[0])), key=key, reverse=is_descending)


class RateHistory:
    """How many records a second each exchange has brought lately."""

    def __init__(self) -> None:
        self.total: deque[float] = deque(maxlen=KEPT)
        self._of: dict[str, deque[float]] = {}

    def note(self, rates: Mapping[str, float]) -> None:
        """Note those of a moment, by exchange."""
        self.total.append(sum(rates.values()))
        for exchange, rate in rates.items():
            self._of.setdefault(exchange, deque(maxlen=KEPT)).append(rate)

    def line(self, exchange: str, width: int = 20) -> str:
        """The latest as bars."""
        return bars(list(self._of.get(exchange, ()))[-width:])


def bars(values: Sequence[float]) -> str:
    """Values as bars of a line of text, the greatest of them the highest."""
    top = max(values, default=0.0)
    return "".join(BARS[round(value / top * (len(BARS) - 1))] if top else BARS[0] for value in values)


def sheets(status: DaemonStatus, rates: RateHistory) -> dict[str, Sheet]:
    """Every table by its name; exchanges have a column of workers where there are some."""
    worker = ("worker",) if status.workers else ()
    figures = ("fresh", "others", "gaps", "lines", "records/s", "", "last ms", "drift", "trouble")
    return {
        "exchanges": Sheet(
            ("exchange", "state", *worker, *figures),
            [_exchange(each, rates, has_workers=bool(worker)) for each in status.exchanges],
        ),
        "topics": Sheet(
            ("topic", "state", "last ms", "records/s", "gap", "asked again", "connection", "reason"),
            list(_topics(status)),
        ),
        "sinks": Sheet(
            ("sink", "state", "waiting", "written", "lost", "refused", "tried again", "failing"),
            [
                (
                    text(sink.name),
                    sink.state,
                    sink.held,
                    sink.written,
                    sink.dropped,
                    sink.refused,
                    sink.retried,
                    text(sink.failing),
                )
                for sink in status.sinks
            ],
        ),
        "clients": Sheet(
            ("client", "feed", "waiting", "bytes", "lost", "topics"),
            [
                (
                    text(each.peer),
                    text(" ".join(feed.listen)),
                    each.queued,
                    each.queued_bytes,
                    each.missed,
                    text(" ".join(each.topics)),
                )
                for feed in status.feeds
                for each in feed.subscribers
            ],
        ),
    }


def _exchange(exchange: ExchangeStatus, rates: RateHistory, *, has_workers: bool) -> tuple[Cell, ...]:
    lines = [line for shard in exchange.shards for line in shard.connections]
    fresh = sum(exchange.topics.get(state, 0) for state in FINE)
    troubles = [shard.trouble for shard in exchange.shards if not any(line.is_open for line in shard.connections)]
    return (
        exchange.id,
        exchange.state,
        *((exchange.worker or " ".join(str(part.worker) for part in exchange.parts),) if has_workers else ()),
        fresh,
        sum(exchange.topics.values()) - fresh,
        exchange.gaps,
        f"{sum(line.is_open for line in lines)}/{max(len(lines), len(exchange.shards))}",
        exchange.rate,
        rates.line(exchange.id),
        "never" if exchange.age_ms is None else exchange.age_ms,
        sum(exchange.drift.counts.values()) if exchange.drift is not None else 0,
        text(next(filter(None, troubles), None) or (exchange.trouble if exchange.state != "running" else None)),
    )


def _topics(status: DaemonStatus) -> Iterator[tuple[Cell, ...]]:
    for topic in status.topics:
        yield (
            text(f"{topic.channel}:{topic.exchange}:{topic.symbol or topic.raw_symbol or '*'}"),
            topic.state,
            "never" if topic.age_ms is None else topic.age_ms,
            topic.rate or 0.0,
            topic.gap or "",
            topic.asked_again,
            text(topic.conn),
            text(topic.reason),
        )


def text(said: str | None) -> str:
    """A text of strangers, short enough for a cell."""
    return printable(said or "")[:MOST_CHARACTERS]


def as_json(status: DaemonStatus) -> dict[str, Any]:
    """All tables as objects by the names of their columns."""
    rates = RateHistory()
    rates.note({exchange.id: exchange.rate for exchange in status.exchanges})
    return {"ts": status.ts, "records": status.bus.offset, **objects(sheets(status, rates))}


def objects(tables: Mapping[str, Sheet]) -> dict[str, list[dict[str, Cell]]]:
    """Tables as lists of objects by the names of their columns."""
    found: dict[str, list[dict[str, Cell]]] = {}
    for name, sheet in tables.items():
        columns = [(at, column) for at, column in enumerate(sheet.columns) if column]
        found[name] = [{column.replace(" ", "_"): row[at] for at, column in columns} for row in sheet.rows]
    return found
