"""An export from its beginning to its end: each market in turn, into one directory that appears whole."""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

from aggregator.research.export import hftbacktest, nautilus, tardis
from aggregator.research.export.market import NoSuchMarket, RecordedMarket
from aggregator.research.export.writing import CannotExport, ExportedMarket, ExportReport, Folder
from aggregator.research.recording import Recording
from aggregator.research.times import Moment

TARGETS = ("hftbacktest", "nautilus", "tardis")


def export(
    paths: Sequence[str | PathLike[str]],
    out: Path,
    target: str,
    exchange: str,
    symbols: Sequence[str],
    *,
    start: Moment | None = None,
    end: Moment | None = None,
    depth: int | None = None,
    told: Callable[[ExportedMarket], None] = lambda _one: None,
) -> ExportReport:
    """Export markets of an exchange; `told` hears of each. Raises AggregatorError, OSError."""
    recording = Recording(*paths)
    with Folder(out) as folder:
        report = ExportReport(target=nautilus.version() if target == "nautilus" else target)
        write = _writer(target, depth)
        for symbol in symbols:
            market = RecordedMarket(recording, exchange, symbol, start, end)
            one = write(market, folder.path)
            if not one.files:
                raise NoSuchMarket(f"of {exchange} {symbol} the recording has nothing in that time that {target} takes")
            report.markets.append(one)
            told(one)
        report.defects = list(map(str, recording.defects))
        folder.finish(report)
        return report


def _writer(target: str, depth: int | None) -> Callable[[RecordedMarket, Path], ExportedMarket]:
    if depth is not None and target != "tardis":
        raise CannotExport(f"{target} has books by their changes alone: leave the depth out")
    if target == "hftbacktest":
        return hftbacktest.write
    if target == "nautilus":
        return nautilus.write
    return lambda market, folder: tardis.write(market, folder, depth)
