"""`aggregator convert`."""

import os
from pathlib import Path

import click

from aggregator.cli import EXIT_ERROR, counted, fail
from aggregator.daemon.printable import printable
from aggregator.errors import AggregatorError
from aggregator.research.converting import Converted, convert

STATES = {
    "before": "was done before",
    "current": "is still being written: it is left for later (or take it as it is with --current)",
    "empty": "holds no records",
    "failed": "failed",
}


def tell(one: Converted, left: int) -> None:
    """Say how it went with one input, and what could not be read of it."""
    for said in one.defects:
        click.echo(printable(said), err=True)
    if one.state == "done":
        rate = f", {one.records / one.seconds:,.0f}/s" if one.seconds else ""
        how = f"{one.records:,} records, {counted(one.files, 'file')}{rate}"
    else:
        how = STATES[one.state]
    click.echo(printable(f"{one.path}: {how}; {left} left"), err=True)


@click.command(name="convert")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The directory of the Parquet files; one that holds some already is gone on with.",
)
@click.option("--jobs", "-j", type=click.IntRange(1), default=1, show_default=True, help="Inputs at once.")
@click.option("--current", is_flag=True, help="Take files as they are that their writer has not closed.")
@click.argument("paths", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
def command(out: Path, jobs: int, current: bool, paths: tuple[Path, ...]) -> None:
    """Files, captures and journals to Parquet, as tables with right types (extra `research`).

    PATHS are such, or directories of them. It can be killed and begun again: inputs that are done are not done again.
    What of them cannot be read is named, and the rest converted. Exit code 1: an input failed.
    """
    try:
        found = convert(paths, out, jobs=min(jobs, 4 * (os.cpu_count() or 1)), takes_current=current, told=tell)
    except AggregatorError as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"{error.filename or out}: {error.strerror or error}") from None
    done = [one for one in found if one.state == "done"]
    defects = sum(len(one.defects) for one in found)
    click.echo(
        f"convert: {counted(len(found), 'input')}, of which {len(done)} were converted now: "
        f"{counted(sum(one.records for one in done), 'record')} in {counted(sum(one.files for one in done), 'file')}; "
        f"{counted(defects, 'place')} could not be read",
        err=True,
    )
    if any(one.state == "failed" for one in found):
        raise click.exceptions.Exit(EXIT_ERROR)
