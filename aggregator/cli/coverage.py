"""`aggregator coverage`."""

import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from aggregator.cli import EXIT_ERROR, counted, fail
from aggregator.cli.completing import exchanges
from aggregator.cli.table import print_rows
from aggregator.daemon.printable import printable
from aggregator.errors import AggregatorError
from aggregator.records import CHANNELS, SECOND_NS

if TYPE_CHECKING:
    from aggregator.research.coverage import CoverageDay, CoverageReport

COLUMNS = ("DAY", "EXCHANGE", "CHANNEL", "SYMBOL", "COVERED", "FOLLOWED", "RECORDS", "GAPS", "NUMBERS", "TIMES")
GAP_COLUMNS = ("FROM", "TO", "EXCHANGE", "CHANNEL", "SYMBOL", "CAUSE", "REPAIR", "MISSED", "RECOVERED")
MS_NS = 1_000_000


@click.command(name="coverage")
@click.option("--exchange", metavar="ID", shell_complete=exchanges, help="Of this exchange alone.")
@click.option("--channel", type=click.Choice(CHANNELS), metavar="CHANNEL", help="Of this channel alone.")
@click.option("--symbol", metavar="NAME", help="Of this market alone: its unified name, or the exchange's own.")
@click.option("--from", "start", metavar="TIME", help="From this time on: ISO text, UTC.")
@click.option("--to", "end", metavar="TIME", help="Before this time.")
@click.option("--gaps", is_flag=True, help="List what is missing, or was, instead of the days.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as one JSON object: docs/research.md describes it.")
@click.option(
    "--brief", is_flag=True, help="With --json: without spans of time, and of each row the longest gaps alone."
)
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw it, too, into this file.")
@click.option(
    "--least", type=click.FloatRange(0, 100), metavar="PERCENT", help="Exit code 1 where any row has less than that."
)
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="DIR...")
def command(
    *,
    exchange: str | None,
    channel: str | None,
    symbol: str | None,
    start: str | None,
    end: str | None,
    gaps: bool,
    as_json: bool,
    brief: bool,
    svg: Path | None,
    least: float | None,
    paths: tuple[Path, ...],
) -> None:
    """Was a recording complete? By day and topic: how much of the time is covered, and what is missing.

    DIR is a directory of files, captures and journals, or one of them. The exchange's own numbers are followed anew
    through the data, so that a loss is found which no gap tells. What cannot be read is named.
    """
    if brief and not as_json:
        raise click.UsageError("--brief is of --json; name both")
    try:
        from aggregator.research import Recording, RecordingWarning, coverage_of
        from aggregator.research.coverage import in_brief

        with warnings.catch_warnings(action="ignore", category=RecordingWarning):  # each is told below
            report = coverage_of(Recording(*paths), exchange, symbol, channel, start, end)  # type: ignore[arg-type]  # a choice
        if svg is not None:
            from aggregator.cli.coverage_picture import picture

            svg.write_text(picture(report), encoding="utf-8")
    except AggregatorError as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"{error.filename or svg}: {error.strerror or error}") from None
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(in_brief(report) if brief else report) + b"\n")
        sys.stdout.buffer.flush()
    elif gaps:
        print_rows(GAP_COLUMNS, _gaps(report.days))
    else:
        print_rows(COLUMNS, map(_cells, report.days), spared=("RECORDS", "FOLLOWED", "TIMES"))
    _remark(report)
    if least is not None and any(day.percent is not None and day.percent < least for day in report.days):
        raise click.exceptions.Exit(EXIT_ERROR)


def _remark(report: "CoverageReport") -> None:
    for said in (*report.remarks, *report.unreadable):
        click.echo(printable(said), err=True)
    if report.unreadable:
        click.echo(f"coverage: {counted(len(report.unreadable), 'place')} could not be read", err=True)


def _cells(day: "CoverageDay") -> tuple[str, ...]:
    return (
        day.day,
        day.exchange,
        day.channel,
        day.symbol or day.raw_symbol or "*",
        covered(day),
        _duration(day.followed_ns),
        str(day.records),
        _causes(day),
        numbers(day),
        times(day),
    )


def covered(day: "CoverageDay") -> str:
    """How much of the time is covered; only what is whole is 100 %."""
    if day.percent is None:
        return "-"
    if not day.records and not day.covered_ns:
        return "nothing came"
    return "100 %" if day.covered_ns == day.followed_ns else f"{int(day.percent * 100) / 100:.2f} %"


def _causes(day: "CoverageDay") -> str:
    """The gaps by cause, with how many of them were mended."""
    told = Counter(gap.cause for gap in day.gaps)
    mended = Counter(gap.cause for gap in day.gaps if gap.is_mended)
    words = [
        f"{count} {cause}" + (f" ({mended[cause]} mended)" if mended[cause] else "") for cause, count in told.items()
    ]
    return ", ".join([*words, *([f"{day.gaps_left_out} more"] if day.gaps_left_out else [])]) or "-"


def numbers(day: "CoverageDay") -> str:
    """The exchange's numbers in words."""
    words = {"none": "not numbered", "unsure": "show no holes", "unknown": "not known"}.get(day.numbers)
    if words is not None:
        return words + (f", {day.untold} untold" if day.untold else "")
    if not day.missing and not day.untold:
        return "whole"
    return f"{day.missing} missing, {day.untold} untold" if day.missing else f"{day.untold} untold"


def times(day: "CoverageDay") -> str:
    """Late and bad times in words."""
    tally = day.times
    told = (
        (tally.late, "late"),
        (tally.twice, "twice"),
        (tally.ahead, f"ahead (by {tally.ahead_ns / MS_NS:.3f} ms)"),
        (tally.back, f"back (by {tally.back_ns / MS_NS:.3f} ms)"),
        (tally.bad_ts, f"out of order ({tally.unflagged} unflagged)"),
    )
    return ", ".join(f"{count} {words}" for count, words in told if count) or "-"


def _gaps(days: Iterable["CoverageDay"]) -> Iterator[tuple[str, ...]]:
    for day in days:
        for gap in day.gaps:
            yield (
                _moment(gap.ts_from),
                "open" if gap.ts_to is None else _moment(gap.ts_to),
                day.exchange,
                day.channel,
                day.symbol or day.raw_symbol or "*",
                gap.cause,
                gap.repair or "-",
                "-" if gap.missed is None else str(gap.missed),
                "-" if gap.recovered is None else str(gap.recovered),
            )


def _moment(ts: int) -> str:
    return f"{datetime.fromtimestamp(ts // SECOND_NS, UTC):%Y-%m-%dT%H:%M:%S}.{ts % SECOND_NS:09}Z"


def _duration(ns: int) -> str:
    seconds = ns // SECOND_NS
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
