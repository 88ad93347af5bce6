"""The screen of `aggregator top`, made with textual."""

import asyncio
from collections.abc import Callable
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Sparkline, Static, TabbedContent, TabPane

from aggregator.cli.ctl import NoAnswer
from aggregator.cli.top_rows import Cell, RateHistory, Sheet, sheets
from aggregator.daemon.printable import printable
from aggregator.daemon.status import DaemonStatus

NAMES = ("exchanges", "topics", "sinks", "clients")
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
}

Look = Callable[[bool], DaemonStatus]


class Top(App[None]):
    """Shows the tables of a daemon, and looks again and again."""

    TITLE = "aggregator top"
    CSS = "Sparkline { height: 2; margin: 0 1; } #head { padding: 0 1; } DataTable { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(at), f"show('{name}')", name) for at, name in enumerate(NAMES, 1)),
        Binding("s", "sort", "sort by the next column"),
        Binding("r", "reverse", "other way round"),
        Binding("a", "all", "all topics"),
        Binding("q", "quit", "end"),
    ]

    def __init__(self, look: Look, every: float, *, is_all: bool = False) -> None:
        """Look every so many seconds."""
        super().__init__()
        self._look = look
        self._every = every
        self._is_all = is_all
        self._rates = RateHistory()
        self._sheets: dict[str, Sheet] = {}
        self._order: dict[str, tuple[int, bool]] = dict.fromkeys(NAMES, (0, False))  # column, and whether descending

    def compose(self) -> ComposeResult:
        yield Static("", id="head", markup=False)
        yield Sparkline([], id="rate")
        with TabbedContent(initial="exchanges"):
            for name in NAMES:
                with TabPane(name, id=name):
                    yield DataTable(id=f"table-{name}", cursor_type="row", zebra_stripes=True)
        yield Footer()

    async def on_mount(self) -> None:
        self.set_interval(self._every, self.look)
        await self.look()

    async def look(self) -> None:
        """Ask the daemon, and show what it says; while it says nothing that is shown."""
        try:
            status = await asyncio.to_thread(self._look, self._is_all)
        except NoAnswer as error:
            self.query_one("#head", Static).update(printable(str(error)))
            return
        self._rates.note(status)
        self._sheets = sheets(status, self._rates)
        process = status.process
        late = f"its loop at most {process.lag_max_ms:.0f} ms late"
        head = f"aggregator {process.version}, process {process.pid}: {status.bus.offset} records, {late}"
        self.query_one("#head", Static).update(f"{head}; {self._rates.total[-1]:.0f} records/s")
        self.query_one("#rate", Sparkline).data = list(self._rates.total)
        for name in NAMES:
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
