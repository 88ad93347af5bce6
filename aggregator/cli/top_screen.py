"""The screen of `aggregator top`, made with textual."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar

from msgspec import Struct
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Sparkline, Static, TabbedContent, TabPane

from aggregator.cli.ctl import NoAnswer
from aggregator.cli.top_rows import KEPT, Cell, RateHistory, Sheet, sheets
from aggregator.daemon.printable import printable
from aggregator.daemon.status import DaemonStatus

COLOURS = {
    "running": "green",
    "live": "green",
    "quiet": "green",
    "starting": "yellow",
    "syncing": "yellow",
    "subscribing": "yellow",
    "opening": "yellow",
    "waiting": "red",
    "stalled": "red",
    "suspect": "red",
    "down": "red",
    "absent": "red",
    "alive": "green",
    "draining": "yellow",
    "silent": "red",
}

Look = Callable[[bool], DaemonStatus]


class Shown(Struct, frozen=True):
    """A moment as it is shown: a line, tables by name, and records a second."""

    head: str
    sheets: dict[str, Sheet]
    rate: float


def numbered(names: Sequence[str]) -> list[BindingType]:
    """The keys that choose a table."""
    return [Binding(str(at), f"show('{name}')", name) for at, name in enumerate(names, 1)]


class Tables(App[None]):
    """Shows tables, and looks again and again. Each kind of it says what it shows."""

    NAMES: ClassVar[tuple[str, ...]]
    CSS = "Sparkline { height: 2; margin: 0 1; } #head { padding: 0 1; } DataTable { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort", "sort by the next column"),
        Binding("r", "reverse", "other way round"),
        Binding("q", "quit", "end"),
    ]

    def __init__(self, every: float) -> None:
        """Look every so many seconds."""
        super().__init__()
        self._every = every
        self._totals: deque[float] = deque(maxlen=KEPT)
        self._sheets: dict[str, Sheet] = {}
        # by table a column, and whether it is sorted descending
        self._order: dict[str, tuple[int, bool]] = dict.fromkeys(self.NAMES, (0, False))

    async def answer(self) -> Shown:
        """Ask. Raises NoAnswer."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield Static("", id="head", markup=False)
        yield Sparkline([], id="rate")
        with TabbedContent(initial=self.NAMES[0]):
            for name in self.NAMES:
                with TabPane(name, id=name):
                    yield DataTable(id=f"table-{name}", cursor_type="row", zebra_stripes=True)
        yield Footer()

    async def on_mount(self) -> None:
        self.set_interval(self._every, self.look)
        await self.look()

    async def look(self) -> None:
        """Ask, and show what is said; while nothing is said that is shown."""
        try:
            answer = await self.answer()
        except NoAnswer as error:
            self.query_one("#head", Static).update(printable(str(error)))
            return
        self._sheets = answer.sheets
        self._totals.append(answer.rate)
        self.query_one("#head", Static).update(f"{answer.head}; {answer.rate:,.0f} records/s")
        self.query_one("#rate", Sparkline).data = list(self._totals)
        for name in self.NAMES:
            self._draw(name)

    def _draw(self, name: str) -> None:
        """Write a table anew; the row on which somebody stands stays the same."""
        table: DataTable[object] = self.query_one(f"#table-{name}", DataTable)
        sheet, (column, is_descending) = self._sheets[name], self._order[name]
        place = table.cursor_row
        table.clear(columns=True)
        marks = {column: " ▼" if is_descending else " ▲"}
        table.add_columns(*(f"{title}{marks.get(at, '')}" for at, title in enumerate(sheet.columns)))
        for row in sheet.sorted(column, is_descending=is_descending):
            table.add_row(*map(_cell, row))
        if table.row_count:
            table.move_cursor(row=min(place, table.row_count - 1))

    @property
    def _shown(self) -> str:
        return self.query_one(TabbedContent).active

    def action_show(self, name: str) -> None:
        """Show a table."""
        self.query_one(TabbedContent).active = name

    def action_sort(self) -> None:
        """Sort by the next column."""
        column, _ = self._order[self._shown]
        sheet = self._sheets.get(self._shown)
        if sheet is not None:
            self._order[self._shown] = (column + 1) % len(sheet.columns), True
            self._draw(self._shown)

    def action_reverse(self) -> None:
        """Sort the other way round."""
        column, is_descending = self._order[self._shown]
        self._order[self._shown] = column, not is_descending
        if self._sheets:
            self._draw(self._shown)


class Top(Tables):
    """The tables of a daemon."""

    TITLE = "aggregator top"
    NAMES = ("exchanges", "topics", "sinks", "clients")
    BINDINGS: ClassVar[list[BindingType]] = [*numbered(NAMES), Binding("a", "all", "all topics")]

    def __init__(self, look: Look, every: float, *, is_all: bool = False) -> None:
        """Look every so many seconds."""
        super().__init__(every)
        self._look = look
        self._is_all = is_all
        self._rates = RateHistory()

    async def answer(self) -> Shown:
        """Ask the daemon. Raises NoAnswer."""
        status = await asyncio.to_thread(self._look, self._is_all)
        self._rates.note({exchange.id: exchange.rate for exchange in status.exchanges})
        process = status.process
        late = f"its loop at most {process.lag_max_ms:.0f} ms late"
        head = f"aggregator {process.version}, process {process.pid}: {status.bus.offset} records, {late}"
        return Shown(head, sheets(status, self._rates), self._rates.total[-1])

    async def action_all(self) -> None:
        """Show all topics, or only those in trouble."""
        self._is_all = not self._is_all
        await self.look()


def _cell(cell: Cell) -> object:
    """A cell as it is shown: numbers to the right, and states in colours."""
    from rich.text import Text

    if isinstance(cell, str):
        return Text(cell, style=COLOURS.get(cell, ""))
    return Text(f"{cell:,.1f}" if isinstance(cell, float) else f"{cell:,}", justify="right")
