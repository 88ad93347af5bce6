"""How far a command is with the captures that it reads: a bar with a rate, while it works on a terminal."""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from aggregator.cli import counted

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def size_of(path: Path) -> int:
    """The bytes of a file; none where it is not a plain one."""
    return path.stat().st_size if path.is_file() else 0


class ReadingPace:
    """A bar over all files together; nothing is shown where standard error is no terminal."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Begin with the first of these files."""
        self.is_shown = sys.stderr.isatty()
        self.frames = 0
        self._total = sum(map(size_of, paths))
        self._before = 0  # bytes of the files that are done
        self._begun = time.monotonic()
        self._stack = ExitStack()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Show the bar."""
        if self.is_shown:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
            console = Console(stderr=True)
            bar = Progress(*columns, console=console, transient=True, redirect_stdout=False)
            self._bar = self._stack.enter_context(bar)
            self._task = self._bar.add_task("", total=self._total or None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take it away."""
        self._stack.close()

    def reach(self, read: int) -> None:
        """So many bytes of the current file were read."""
        if self._bar is not None and self._task is not None:
            said = f"{self.frames:,} frames, {self.frames / max(self.seconds, 1e-3):,.0f}/s"
            self._bar.update(self._task, completed=self._before + read, description=said)

    def end(self, path: Path) -> None:
        """A file is done."""
        self._before += size_of(path)
        self.reach(0)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._begun

    def summed_up(self, command: str, captures: int, unread: int, records: int, gaps: int) -> str:
        """All that came of it, in one line."""
        return (
            f"{command}: {counted(self.frames, 'frame')} of {counted(captures, 'capture')}, {unread} not read; "
            f"{counted(records, 'record')}, {counted(gaps, 'gap')}; {self.seconds:.1f} s"
        )
