"""The newest prices of everything that a daemon follows, as a table that is drawn again and again."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from msgspec import Struct, field
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from aggregator.daemon.printable import printable
from aggregator.records import SECOND_NS, Bbo, Gap, Health, Instrument, Record, Trade

SPAN_S = 5  # records are counted over so long
GOOD = {"live", "quiet"}
SPARED = ("rec/s", "spread")  # a narrow terminal does without them, in this order, so that prices stay whole
GUTTER = 2  # characters between two columns
SHORTENED = {"exchange": 8, "state": 4}  # and then shortens these, to so many characters at least
COLUMNS = ("exchange", "symbol", "last", "bid", "ask", "spread", "rec/s", "state")
COLOURS = {"live": "green", "buy": "green", "sell": "red"}


class Row(Struct):
    """One instrument."""

    last: str = ""
    side: str | None = None  # the last taker's
    bid: str | None = None
    ask: str | None = None
    counted: deque[tuple[int, int]] = field(default_factory=deque)  # second, records in it
    states: dict[str, str] = {}  # by channel


class Board:
    """The latest of each instrument: it is fed with records and asked for a table."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}

    def note(self, records: Iterable[Record]) -> None:
        """Note what records say."""
        for record in records:
            if record.symbol is None or isinstance(record, Instrument):
                continue
            row = self._rows.get((record.exchange, record.symbol))
            if row is None:
                row = self._rows[record.exchange, record.symbol] = Row()
            if isinstance(record, Health):
                row.states[record.channel] = record.state
                continue
            if isinstance(record, Gap):  # only the gap tells of these changes of state
                if record.channel is not None:
                    row.states[record.channel] = "suspect" if record.phase == "open" else "live"
                continue
            _count(row, record.ts_recv // SECOND_NS)
            if isinstance(record, Trade):
                row.last, row.side = record.price, record.side
            elif isinstance(record, Bbo):
                row.bid, row.ask = record.bid_price, record.ask_price

    def table(self, now: int, width: int) -> Table:
        """The table at a time in nanoseconds, for a terminal of so many characters."""
        rows = list(self._cells(now))
        sizes = {
            column: max(Text.from_markup(cell, emoji=False).cell_len for cell in (column, *(row[at] for row in rows)))
            for at, column in enumerate(COLUMNS)
        }
        for column in SPARED:
            if _width(sizes) > width:
                del sizes[column]
        for column, least in SHORTENED.items():
            sizes[column] -= max(0, min(sizes[column] - least, _width(sizes) - width))
        table = Table(box=None, pad_edge=False, padding=(0, GUTTER, 0, 0), header_style="bold")
        for column, size in sizes.items():
            is_number = column in {"last", "bid", "ask", "spread", "rec/s"}
            table.add_column(column, no_wrap=True, justify="right" if is_number else "left", max_width=size)
        for row in rows:
            table.add_row(*(cell for column, cell in zip(COLUMNS, row, strict=True) if column in sizes))
        return table

    def _cells(self, now: int) -> Iterator[tuple[str, ...]]:
        """Each row's cells, as markup."""
        before = ""
        for (exchange, symbol), row in sorted(self._rows.items()):
            state = _state(row)
            yield (
                exchange if exchange != before else "",
                _plain(symbol),
                _coloured(row.last, row.side or ""),
                _plain(row.bid or "-"),
                _plain(row.ask or "-"),
                _spread(row),
                f"{_rate(row, now // SECOND_NS):.0f}",
                _coloured(state, state),
            )
            before = exchange


def _width(sizes: Mapping[str, int]) -> int:
    return sum(sizes.values()) + GUTTER * (len(sizes) - 1)


def _count(row: Row, second: int) -> None:
    if row.counted and row.counted[-1][0] == second:
        row.counted[-1] = (second, row.counted[-1][1] + 1)
    else:
        row.counted.append((second, 1))
        while row.counted[0][0] < second - SPAN_S:
            row.counted.popleft()


def _rate(row: Row, second: int) -> float:
    """Records a second, over the whole seconds that are past."""
    return sum(count for at, count in row.counted if second - SPAN_S <= at < second) / SPAN_S


def _state(row: Row) -> str:
    """The state of the instrument's topics; where one is worse than the others, that and which."""
    worst = next(((channel, state) for channel, state in row.states.items() if state not in GOOD), None)
    if worst is not None:
        return f"{worst[1]} ({worst[0]})" if len(set(row.states.values())) > 1 else worst[1]
    return "live" if "live" in row.states.values() else next(iter(row.states.values()), "")


def _spread(row: Row) -> str:
    if row.bid is None or row.ask is None:
        return "-"
    return f"{Decimal(row.ask) - Decimal(row.bid):f}"


def _coloured(text: str, kind: str) -> str:
    colour = COLOURS.get(kind)
    return f"[{colour}]{_plain(text)}[/]" if colour and text else _plain(text)


def _plain(text: str) -> str:
    """Text of an exchange: it is no markup, and steers no terminal."""
    return escape(printable(text))
