"""CSV files with the tables and columns of tardis.dev, a file for each table, day and market.

Times are microseconds, prices and sizes the exchange's own text. Where the exchange gives no time, `timestamp` is
`local_timestamp`, as it is there.
"""

import gzip
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from aggregator.records import (
    DAY_S,
    SECOND_NS,
    Bbo,
    Funding,
    IndexPrice,
    Levels,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Record,
    Ticker,
    Trade,
)
from aggregator.research.export.market import Beside, BookChange, BookLost, RecordedMarket, Step, WholeBook
from aggregator.research.export.writing import ExportedFile, ExportedMarket, exported, safe
from aggregator.tables.tree import day_name

ALWAYS = ("exchange", "symbol", "timestamp", "local_timestamp")
QUOTES = (*ALWAYS, "ask_amount", "ask_price", "bid_price", "bid_amount")
OF_TRADES = (*ALWAYS, "id", "side", "price", "amount")
COLUMNS = {
    "trades": OF_TRADES,
    "incremental_book_L2": (*ALWAYS, "is_snapshot", "side", "price", "amount"),
    "quotes": QUOTES,
    "book_ticker": QUOTES,
    "derivative_ticker": (
        *ALWAYS,
        "funding_timestamp",
        "funding_rate",
        "predicted_funding_rate",
        "open_interest",
        "last_price",
        "index_price",
        "mark_price",
    ),
    "liquidations": OF_TRADES,
}
STATE = COLUMNS["derivative_ticker"][len(ALWAYS) :]
READS: tuple[type[Record], ...] = (Trade, Bbo, Liquidation, Funding, OpenInterest, MarkPrice, IndexPrice, Ticker)
DAY_NS = DAY_S * SECOND_NS
LINES = 4096  # so many wait before they are written


def write(market: RecordedMarket, folder: Path, depth: int | None = None) -> ExportedMarket:
    """Write a market's files; `depth`: those of so many levels after each change, too. Raises OSError."""
    tables = _Tables(market, folder, depth)
    try:
        for step in market.steps(*READS):
            tables.take(step)
    finally:
        files = tables.close()
    report = exported(market)
    report.files = files
    return report


class _Table:
    """One table of a market: a file for each day, of which one is open."""

    def __init__(self, folder: Path, name: str, market: RecordedMarket, columns: Iterable[str]) -> None:
        self._folder, self._name, self._market = folder, name, market
        self._head = ",".join(columns) + "\n"
        self._lines: list[str] = []
        self._file: IO[bytes] | None = None
        self.day = -1
        self.files: list[ExportedFile] = []

    def turns(self, ts: int) -> bool:
        """Tell whether a row of this time begins another file."""
        return ts // DAY_NS != self.day

    def add(self, ts: int, lines: Iterable[str]) -> None:
        """Add rows that have one time of ours. Raises OSError."""
        if self.turns(ts):
            self.close()
            self._open(ts)
        before = len(self._lines)
        self._lines += lines
        self.files[-1].rows += len(self._lines) - before
        self.files[-1].ts_to = ts
        if len(self._lines) >= LINES:
            self._write()

    def _open(self, ts: int) -> None:
        self.day = ts // DAY_NS
        stem = f"{safe(self._market.exchange)}_{self._name}_{day_name(self.day)}_{safe(self._market.name)}"
        path = self._folder / f"{stem}.csv.gz"
        self._file = gzip.GzipFile(path, "wb", compresslevel=6, mtime=0)  # type: ignore[assignment]
        self._lines = [self._head]
        self.files.append(ExportedFile(path.name, 0, ts, ts))

    def _write(self) -> None:
        if self._file is not None:
            self._file.write("".join(self._lines).encode("utf-8", "replace"))
        self._lines = []

    def close(self) -> None:
        """End the file that is open. Raises OSError."""
        if self._file is not None:
            self._write()
            self._file.close()
            self._file = None


class _Tables:
    """The tables of one market."""

    def __init__(self, market: RecordedMarket, folder: Path, depth: int | None) -> None:
        self._market = market
        self._folder = folder
        self._depth = depth
        self._tables: dict[str, _Table] = {}
        self._state: dict[str, str] = dict.fromkeys(STATE, "")
        self._top: tuple[Levels, Levels] | None = None
        self._best: tuple[Levels, Levels] | None = None
        self._takers: dict[type[Record], Callable[..., None]] = {
            Trade: self._sold,
            Liquidation: self._forced,
            Bbo: self._quoted,
        }

    def take(self, step: Step) -> None:
        """Write a step. Raises OSError."""
        if isinstance(step, Beside):
            self._takers.get(type(step.record), self._valued)(step, step.record)
            return
        head = self._head(step.ts, None if isinstance(step, BookLost) else step.ts_exchange)
        book = self._table("incremental_book_L2")
        if isinstance(step, BookLost):
            removed = ([(price, "0") for price, _ in levels] for levels in (step.bids, step.asks))
            book.add(step.ts, self._levels(head, "false", *removed))
            self._show(step.ts, head, [], [])
            return
        if isinstance(step, BookChange) and not book.turns(step.ts):
            book.add(step.ts, self._levels(head, "false", step.bids, step.asks))
        else:  # each file begins with the whole book
            live = self._market.book
            bids, asks = (step.bids, step.asks) if isinstance(step, WholeBook) else (live.bids(), live.asks())
            book.add(step.ts, self._levels(head, "true", bids, asks))
        self._show(step.ts, head, self._market.book.bids(1), self._market.book.asks(1))

    def close(self) -> list[ExportedFile]:
        """End every file. Raises OSError."""
        for table in self._tables.values():
            table.close()
        return [file for table in self._tables.values() for file in table.files]

    def _table(self, name: str) -> _Table:
        if name not in self._tables:
            columns = COLUMNS.get(name) or (*ALWAYS, *_columns_of_depth(self._depth or 0))
            self._tables[name] = _Table(self._folder, name, self._market, columns)
        return self._tables[name]

    def _head(self, ts: int, ts_exchange: int | None) -> str:
        told = ts if ts_exchange is None else ts_exchange
        return f"{cell(self._market.exchange)},{cell(self._market.name)},{told // 1000},{ts // 1000}"

    def _levels(self, head: str, is_snapshot: str, bids: Levels, asks: Levels) -> list[str]:
        return [f"{head},{is_snapshot},bid,{price},{size}\n" for price, size in bids] + [
            f"{head},{is_snapshot},ask,{price},{size}\n" for price, size in asks
        ]

    def _show(self, ts: int, head: str, bids: Levels, asks: Levels) -> None:
        """The best prices, and the best levels where they are wanted, if they have changed."""
        if (bids, asks) != self._best:
            self._best = bids, asks
            (bid, bid_size), (ask, ask_size) = (bids or [("", "")])[0], (asks or [("", "")])[0]
            self._table("quotes").add(ts, [f"{head},{ask_size},{ask},{bid},{bid_size}\n"])
        if self._depth is None:
            return
        is_there = bool(bids or asks)
        top = (self._market.book.bids(self._depth), self._market.book.asks(self._depth)) if is_there else ([], [])
        if top != self._top:
            self._top = top
            cells: list[str] = []
            for at in range(self._depth):
                for levels in reversed(top):
                    cells += levels[at] if at < len(levels) else ("", "")
            self._table(f"book_snapshot_{self._depth}").add(ts, [f"{head},{','.join(cells)}\n"])

    def _sold(self, step: Beside, trade: Trade) -> None:
        head, side = self._head(step.ts, step.ts_exchange), trade.side or "unknown"
        self._table("trades").add(step.ts, [f"{head},{cell(trade.id or '')},{side},{trade.price},{trade.size}\n"])

    def _forced(self, step: Beside, order: Liquidation) -> None:
        head, side = self._head(step.ts, step.ts_exchange), order.side or "unknown"
        row = f"{head},{cell(order.id or '')},{side},{order.price or ''},{order.size}\n"
        self._table("liquidations").add(step.ts, [row])

    def _quoted(self, step: Beside, bbo: Bbo) -> None:
        if bbo.origin != "native":
            return
        cells = [text or "" for text in (bbo.ask_size, bbo.ask_price, bbo.bid_price, bbo.bid_size)]
        row = f"{self._head(step.ts, step.ts_exchange)},{','.join(cells)}\n"
        self._table("book_ticker").add(step.ts, [row])

    def _valued(self, step: Beside, record: Record) -> None:
        """A row with everything that is known of a contract, whenever a part of it has changed."""
        before = dict(self._state)
        if isinstance(record, Funding) and record.kind != "settled":
            name = "funding_rate" if record.kind == "current" else "predicted_funding_rate"
            self._state[name] = record.rate
            if record.kind == "current":
                self._state["funding_timestamp"] = str(record.ts_next // 1000) if record.ts_next is not None else ""
        elif isinstance(record, OpenInterest):
            self._state["open_interest"] = record.size
        elif isinstance(record, MarkPrice):
            self._state["mark_price"] = record.price
        elif isinstance(record, IndexPrice):
            self._state["index_price"] = record.price
        elif isinstance(record, Ticker) and record.last is not None:
            self._state["last_price"] = record.last
        is_contract = any(value for name, value in self._state.items() if name != "last_price")
        if is_contract and self._state != before:
            row = f"{self._head(step.ts, step.ts_exchange)},{','.join(self._state.values())}\n"
            self._table("derivative_ticker").add(step.ts, [row])


def _columns_of_depth(depth: int) -> list[str]:
    return [f"{side}[{at}].{what}" for at in range(depth) for side in ("asks", "bids") for what in ("price", "amount")]


def cell(text: str) -> str:
    """A text as a cell of CSV."""
    if any(each in text for each in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text
