"""The parts that `aggregator top` and `aggregator cluster top` share: tables printed once, and a screen of textual."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click

from aggregator.cli import fail
from aggregator.cli.table import print_rows
from aggregator.cli.top_rows import Sheet


def print_sheets(tables: Mapping[str, Sheet]) -> None:
    """Print every table that has rows, each with an empty line behind it."""
    for sheet in tables.values():
        if sheet.rows:
            print_rows(sheet.columns, [list(map(str, row)) for row in sheet.rows])
            click.echo()


@contextmanager
def with_textual(command: str) -> Iterator[None]:
    """Import a screen; where textual is missing, the command ends with words that say how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise fail(f"{command} needs textual: pip install 'market-aggregator[top]'; --once does without it") from None
