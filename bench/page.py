"""The tables of docs/performance.md, from the reports of `bench` and `bench.peers`: `python -m bench.page REPORT...`.

A report fills the tables that it has figures for. Of two reports with the hot path, the second is another Python's and
fills one column. What stands between the tables is written by hand.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import convert
from msgspec.json import decode

from bench import callbacks, daemon, hot, live, peers
from bench.measure import MICRO

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
PEERS = ("cryptofeed", "ccxt", "tardis-dev")
NONE = "-"

Report = Mapping[str, Any]
Rows = Iterator[Sequence[object]]


def figure(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return NONE
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def times(theirs: float | None, ours: float) -> str:
    """How many times ours theirs is."""
    return NONE if theirs is None else f"{theirs / ours:.1f}"


def table(report: Report, head: str, rows: Rows) -> str:
    """A table in Markdown under the conditions of its run; columns that do not begin with a letter are to the right."""
    names = head.split(" | ")
    texts = [list(map(str, row)) for row in rows]
    left = [not texts or texts[0][at][:1].isalpha() for at in range(len(names))]
    lines = [names, ["---" if is_left else "---:" for is_left in left], *texts]
    said = ", ".join(
        str(value) if key in {"date", "machine"} else f"{key} {value}" for key, value in report["conditions"].items()
    )
    return f"{said}.\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def of_hot(report: Report, other: Report | None) -> str:
    """The hot path, with another Python's `c` in the last column."""
    on_other = {(row.exchange, row.kind): row.lines for row in convert((other or {}).get("hot", ()), list[hot.Row])}

    def rows() -> Rows:
        for row in convert(report["hot"], list[hot.Row]):
            parts = (row.loads, row.parse, row.bound, row.native, row.alone, row.session, row.lines)
            yield (
                row.exchange,
                row.kind,
                row.bytes_per_frame,
                *map(figure, parts),
                times(row.lines, row.loads),
                f"{row.checks:.0%}",
                f"{MICRO / row.lines:,.0f}",
                figure(on_other.get((row.exchange, row.kind))),
            )

    python = other["conditions"]["python"] if other else "another Python"
    head = "exchange | frames | bytes | loads | a | bound | C | b1 | b | c | c / loads | checks | c, frames/s"
    return table(report, f"{head} | c on {python}", rows())


def of_peers(report: Report) -> str:
    """Beside other programs."""

    def rows() -> Rows:
        for row in convert(report["rows"], list[peers.Row]):
            found = [row.peers.get(name) for name in PEERS]
            cells = [cell for theirs in found for cell in (figure(theirs), times(theirs, row.ours))]
            yield row.exchange, row.kind, figure(row.ours), *cells

    head = " | ".join(f"{name} | ×" for name in PEERS)  # noqa: RUF001 - as it is printed
    return table(report, f"exchange | frames | ours | {head}", rows())


def of_live(report: Report) -> str:
    """Beside cryptofeed, over a socket."""

    def rows() -> Rows:
        for row in convert(report["live"], list[live.Row]):
            pairs = [(row.ours[key], row.theirs[key]) for key in ("cpu", "p50", "p99")]
            cells = [cell for ours, theirs in pairs for cell in (figure(ours), figure(theirs), times(theirs, ours))]
            yield row.kind, row.name, *cells

    head = " | ".join(f"{key} ours | {key} cryptofeed | ×" for key in ("CPU", "p50", "p99"))  # noqa: RUF001 - likewise
    return table(report, f"frames | sent | {head}", rows())


def of_callbacks(report: Report) -> str:
    """Beside nautilus_trader, from a socket to a Python callback."""

    def rows() -> Rows:
        for row in convert(report["callbacks"], list[callbacks.Row]):
            spread = "{:.1f} to {:.1f}".format(*row.range)
            yield row.kind, row.name, figure(row.ours), figure(row.theirs), f"{row.ratio:.1f}", spread

    return table(report, "frames | sent | CPU ours | CPU nautilus_trader | × | of the turns", rows())  # noqa: RUF001


def of_daemon(report: Report) -> str:
    """The whole daemon."""

    def rows() -> Rows:
        for run in convert(report["daemon"]["runs"], list[daemon.Run]):
            yield (
                "bare loop" if run.load.bare else "daemon",
                f"{run.load.kind}, {run.load.name}",
                run.load.clients,
                f"{run.per_second:,.0f}",
                figure(run.cpu),
                f"{run.waited:.0%}",
                *(figure(late or None) for late in (run.p50, run.p99, run.p999)),
            )

    return table(report, "through | frames | clients | frames/s | CPU per frame | waited | p50 | p99 | p99.9", rows())


def filled(page: str, name: str, text: str) -> str:
    """The page with a table in its place."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    before, _, rest = page.partition(begin)
    if end not in rest:
        raise LookupError(f"{PAGE} has no place for {name}: it wants {begin.strip()} and {end.strip()}")
    return before + begin + text + end + rest.partition(end)[2]


def main(paths: Sequence[str]) -> None:
    """Fill what the reports have figures for."""
    reports = [decode(Path(path).read_bytes()) for path in paths]
    page = PAGE.read_text()
    hots = [report for report in reports if "hot" in report]
    if hots:
        page = filled(page, "hot", of_hot(hots[0], hots[1] if len(hots) > 1 else None))
    for report in reports:
        for key, name, show in (
            ("rows", "peers", of_peers),
            ("live", "socket", of_live),
            ("callbacks", "callbacks", of_callbacks),
            ("daemon", "daemon", of_daemon),
        ):
            if report.get(key):
                page = filled(page, name, show(report))
    PAGE.write_text(page)


if __name__ == "__main__":
    main(sys.argv[1:])
