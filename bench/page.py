"""The tables of docs/performance.md, from the reports of `bench` and `bench.peers`: `python -m bench.page REPORT...`.

A report fills the tables that it has figures for. Of two reports with the hot path, the second is another Python's and
fills one column. What stands between the tables is written by hand.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.json import decode

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
    """A table in Markdown under the conditions of its run: what comes after the last word of `head` is to the right."""
    names = head.split(" | ")
    texts = [list(map(str, row)) for row in rows]
    left = [not texts or texts[0][at][:1].isalpha() for at in range(len(names))]
    lines = [names, ["---" if is_left else "---:" for is_left in left], *texts]
    said = ", ".join(
        str(value) if key in {"date", "machine"} else f"{key} {value}" for key, value in report["conditions"].items()
    )
    return f"{said}.\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def hot(report: Report, other: Report | None) -> str:
    """The hot path, with another Python's `c` in the last column."""
    on_other = {(row["exchange"], row["kind"]): row["lines"] for row in (other or {}).get("hot", ())}

    def rows() -> Rows:
        for row in report["hot"]:
            parts = ("loads", "parse", "bound", "native", "alone", "session", "lines")
            yield (
                row["exchange"],
                row["kind"],
                row["bytes_per_frame"],
                *(figure(row[part]) for part in parts),
                times(row["lines"], row["loads"]),
                f"{row['session'] / row['parse'] - 1:.0%}",
                f"{1e6 / row['lines']:,.0f}",
                figure(on_other.get((row["exchange"], row["kind"]))),
            )

    python = other["conditions"]["python"] if other else "another Python"
    head = "exchange | frames | bytes | loads | a | bound | C | b1 | b | c | c / loads | checks | c, frames/s"
    return table(report, f"{head} | c on {python}", rows())


def peers(report: Report) -> str:
    """Beside other programs."""

    def rows() -> Rows:
        for row in report["rows"]:
            found = [row["peers"].get(name) for name in PEERS]
            cells = [cell for theirs in found for cell in (figure(theirs), times(theirs, row["ours"]))]
            yield row["exchange"], row["kind"], figure(row["ours"]), *cells

    head = " | ".join(f"{name} | ×" for name in PEERS)  # noqa: RUF001 - as it is printed
    return table(report, f"exchange | frames | ours | {head}", rows())


def socket(report: Report) -> str:
    """Beside cryptofeed, over a socket."""

    def rows() -> Rows:
        for row in report["live"]:
            ours, theirs = row["ours"], row["theirs"]
            cells = [
                cell
                for key in ("cpu", "p50", "p99")
                for cell in (figure(ours[key]), figure(theirs[key]), times(theirs[key], ours[key]))
            ]
            yield row["kind"], row["name"], *cells

    head = " | ".join(f"{key} ours | {key} cryptofeed | ×" for key in ("CPU", "p50", "p99"))  # noqa: RUF001 - likewise
    return table(report, f"frames | sent | {head}", rows())


def daemon(report: Report) -> str:
    """The whole daemon."""

    def rows() -> Rows:
        for row in report["daemon"]["runs"]:
            load = row["load"]
            latencies = (row[key] or None for key in ("p50", "p99", "p999"))
            yield (
                "bare loop" if load["bare"] else "daemon",
                f"{load['kind']}, {load['name']}",
                load["clients"],
                f"{row['per_second']:,.0f}",
                figure(row["cpu"]),
                f"{row['waited']:.0%}",
                *map(figure, latencies),
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
        page = filled(page, "hot", hot(hots[0], hots[1] if len(hots) > 1 else None))
    for report in reports:
        for key, name, show in (("rows", "peers", peers), ("live", "socket", socket), ("daemon", "daemon", daemon)):
            if report.get(key):
                page = filled(page, name, show(report))
    PAGE.write_text(page)


if __name__ == "__main__":
    main(sys.argv[1:])
