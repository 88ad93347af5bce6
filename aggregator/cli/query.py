"""`aggregator query`."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import click

from aggregator.cli import counted, fail
from aggregator.cli.table import print_rows
from aggregator.cli.terminal import screen
from aggregator.daemon.printable import printable
from aggregator.errors import AggregatorError

if TYPE_CHECKING:
    from aggregator.research.querying import Database, Format

T = TypeVar("T")
MOST_ROWS = 1000  # a table on a terminal has no more
PATIENCE_S = 0.5  # a bar appears for what takes longer
LOOK_S = 0.1
FORMATS = ("table", "csv", "json", "parquet")


@click.command(name="query")
@click.option(
    "--in",
    "paths",
    type=click.Path(path_type=Path),
    multiple=True,
    default=(Path("data"),),
    show_default="data",
    help="A file of a recording, or a directory of such; may be given several times.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="How the answer is written (default: by the name of --out, else table); json is an object a line.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the answer to this file, which appears whole."
)
@click.option("--views", is_flag=True, help="List the views and their columns; nothing is asked.")
@click.argument("query", required=False)
def command(paths: tuple[Path, ...], form: str | None, out: Path | None, views: bool, query: str | None) -> None:
    """Ask a recording in SQL, of DuckDB (extra `research`).

    QUERY is one SELECT. Each record type is a view, such as `trade` (also `trades`), with right types; `gaps` has what
    is missing, as intervals. `book_at('exchange', 'symbol', 'time')` is a book, `candles_of('1 minute')` candles of the
    trades, and `bucket(ts_recv, '1 minute')` the beginning of a minute.
    """
    if (query is None) != views:
        raise click.UsageError("give a query, or --views")
    form = form or _form_of(out)
    if form == "table" and out is not None:
        raise click.UsageError("a table is for the screen: write --format csv, json or parquet beside --out")
    if form == "parquet" and out is None:
        raise click.UsageError("Parquet is no text: write --out FILE")
    try:
        from aggregator.research.querying import Database

        with Database(*paths) as database:
            if query is None:
                _list(database)
                return
            _answer(database, query, form, out)
            for said in database.warnings:
                click.echo(printable(said), err=True)
    except AggregatorError as error:
        raise fail(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise fail(f"{error.filename or out or 'standard output'}: {error.strerror or error}") from None


def _form_of(out: Path | None) -> str:
    if out is None:
        return "table"
    form = {".csv": "csv", ".json": "json", ".ndjson": "json", ".parquet": "parquet"}.get(out.suffix)
    if form is None:
        raise click.UsageError(f"{out} does not say by its name what it is to be: write --format csv, json or parquet")
    return form


def _list(database: "Database") -> None:
    print_rows(
        ("VIEW", "COLUMN", "TYPE"), [(view, *column) for view, columns in database.views() for column in columns]
    )


def _answer(database: "Database", query: str, form: str, out: Path | None) -> None:
    if form == "table":
        most = MOST_ROWS if screen().is_person else None
        names, rows = _watched(database, lambda: database.rows(query, None if most is None else most + 1))
        print_rows(names, [["NULL" if value is None else value for value in row] for row in rows[:most]])
        if most is not None and len(rows) > most:
            click.echo(f"the first {counted(most, 'row')}; all: --format csv, or --out FILE", err=True)
    elif out is not None:
        _watched(database, lambda: database.write(query, out, cast("Format", form)))
    else:
        file = sys.stdout.buffer
        _watched(database, lambda: database.pour(query, file, cast("Format", form)))
        file.flush()


def _watched(database: "Database", work: Callable[[], T]) -> T:
    """Do it, with a bar on a terminal where it takes a while."""
    if not sys.stderr.isatty():
        return work()
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeElapsedColumn

    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(work)
        try:
            if wait([job], PATIENCE_S).done:
                return job.result()
            columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
            with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task("", total=None)
                while not job.done():
                    percent = database.progress()
                    if percent > 0:  # it is not known at once, and of some queries never
                        bar.update(task, completed=percent, total=100)
                    time.sleep(LOOK_S)
            return job.result()
        except KeyboardInterrupt:
            database.interrupt()
            raise
