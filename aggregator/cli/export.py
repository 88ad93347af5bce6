"""`aggregator export`."""

from pathlib import Path

import click

from aggregator.cli import counted, fail
from aggregator.cli.completing import exchanges
from aggregator.daemon.printable import printable
from aggregator.errors import AggregatorError
from aggregator.research.export.exporting import TARGETS, export
from aggregator.research.export.writing import REPORT, ExportedMarket
from aggregator.research.times import shown

SHOWN = 10  # times without a book that are shown; the report has all


def tell(one: ExportedMarket) -> None:
    """Say what was exported of one market, and where there is no book."""
    name = f"{one.exchange} {one.symbol or one.raw_symbol}"
    records = ", ".join(f"{count:,} {kind}" for kind, count in sorted(one.counts.items()))
    rows = sum(file.rows for file in one.files)
    click.echo(printable(f"{name}: {records}; {rows:,} rows in {counted(len(one.files), 'file')}"), err=True)
    for at in one.unknown[:SHOWN]:
        until = "the end" if at.ts_to is None else shown(at.ts_to)
        said = f"  no book from {shown(at.ts_from)} to {until}: {at.why}"
        click.echo(printable(said), err=True)
    if len(one.unknown) > SHOWN:
        click.echo(f"  and {len(one.unknown) - SHOWN} more times without a book", err=True)
    for why, count in sorted(one.left_out.items()):
        click.echo(printable(f"  left out: {count:,} {why}"), err=True)
    for why, count in sorted(one.adjusted.items()):
        click.echo(printable(f"  adjusted: {count:,} {why}"), err=True)


@click.command(name="export")
@click.option("--to", "target", type=click.Choice(TARGETS), required=True, help="The program that is to read it.")
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
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The directory of the export, which must not be there yet. It appears once all is in it.",
)
@click.option("--from", "start", help="Records that arrived from this time on, as 2026-11-29 or 2026-11-29T12:00:00Z.")
@click.option("--until", "end", help="Records that arrived before this time.")
@click.option(
    "--depth",
    type=click.IntRange(1, 1000),
    help="tardis: the best levels after each change of them, too, so many a side.",
)
@click.argument("exchange", shell_complete=exchanges)
@click.argument("symbols", nargs=-1, required=True)
def command(
    target: str,
    paths: tuple[Path, ...],
    out: Path,
    start: str | None,
    end: str | None,
    depth: int | None,
    exchange: str,
    symbols: tuple[str, ...],
) -> None:
    """Markets of a recording in the files of another program (extra `research`).

    SYMBOLS are the markets of EXCHANGE, by the unified name or the exchange's own. A book that is in doubt is not
    exported: it is cleared where a gap begins, and whole again where the recording has it whole. `report.json` says
    where, and what was left out and why.
    """
    try:
        report = export(paths, out, target, exchange, symbols, start=start, end=end, depth=depth, told=tell)
    except AggregatorError as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"{error.filename or out}: {error.strerror or error}") from None
    for said in report.defects:
        click.echo(printable(said), err=True)
    click.echo(f"export: {out}, for {report.target}; {out / REPORT} says what is missing", err=True)
