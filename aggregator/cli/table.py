"""Rows on standard output: a table on a terminal, tab-separated lines elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from aggregator.cli.terminal import screen
from aggregator.daemon.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

GUTTER = 2  # characters between two columns


def print_rows(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    widest: Mapping[str, int] | None = None,
    spared: Sequence[str] = (),
) -> None:
    """Print rows below their columns.

    widest: columns that are folded on a terminal, and beyond how many characters; where none are named, all but the
        first are folded where the terminal is too narrow
    spared: columns that a terminal does without where it is too narrow, those first that are missed least
    """
    cleaned = [[printable(text) for text in row] for row in rows]
    if screen().is_person:
        _print_table(*_fitting(columns, cleaned, widest or {}, spared), widest or {})
    else:
        click.echo("".join("\t".join(row) + "\n" for row in [columns, *cleaned]), nl=False)


def _fitting(
    columns: Sequence[str], rows: Sequence[Sequence[str]], widest: Mapping[str, int], spared: Sequence[str]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """The columns that the terminal has room for."""
    longest = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    width = {c: min(size, widest.get(c, size)) + GUTTER for c, size in zip(columns, longest, strict=True)}
    gone: set[str] = set()
    for column in spared:
        if sum(width[c] for c in columns if c not in gone) - GUTTER > console(markup=False).width:
            gone.add(column)
    kept = [at for at, column in enumerate(columns) if column not in gone]
    return [columns[at] for at in kept], [[row[at] for at in kept] for row in rows]


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], widest: Mapping[str, int]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, GUTTER, 0, 0), header_style="bold")
    for at, column in enumerate(columns):
        fixed = column not in widest if widest else at == 0
        table.add_column(column, no_wrap=fixed, overflow="fold", max_width=widest.get(column))
    for row in rows:
        table.add_row(*row)
    console(markup=False).print(table)


def console(*, markup: bool) -> "Console":
    """Rich's, with the colours that standard output takes; `markup`: whether brackets are styles."""
    from rich.console import Console

    return Console(markup=markup, emoji=False, highlight=False, color_system="auto" if screen().has_colour else None)
