"""A coverage report as a picture: a line for each topic, and along it the time that is covered and what is missing."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape

from aggregator.daemon.printable import printable
from aggregator.records import DAY_S, HOUR_S, SECOND_NS
from aggregator.research.coverage import CoverageDay, CoverageGap, CoverageReport
from aggregator.research.spans import Span, minus, union

MOST_LINES = 400  # topics in one picture; the worst of them where there are more
WIDTH, LABEL, SHARE, LINE, BAR = 1200, 340, 90, 18, 12  # pixels
TOP, BOTTOM = 70, 34
LEAST = 1.0  # pixels that something missing has at least, so that it is seen
STEPS_S = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, HOUR_S, 2 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S, DAY_S)
MOST_TICKS = 9
LONGEST_LABEL = 46  # characters
COLOURS = {
    "covered": "#5aa469",
    "missing": "#c43d2b",
    "mended": "#e0a82e",
    "untold": "#6a2c91",
    "not followed": "#e6e6e6",
}

Key = tuple[str, str, str]


def picture(report: CoverageReport) -> str:
    """The picture, as SVG."""
    topics: dict[Key, list[CoverageDay]] = {}
    for day in report.days:
        topics.setdefault((day.exchange, day.channel, day.symbol or day.raw_symbol or "*"), []).append(day)
    worst = sorted(topics, key=lambda key: _share(topics[key]))[:MOST_LINES]
    shown = [key for key in topics if key in set(worst)]
    start, end = report.ts_from or 0, report.ts_to or 0
    scale = _Scale(start, max(end, start + 1))
    height = TOP + LINE * max(1, len(shown)) + BOTTOM
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11" fill="#222">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="20" font-size="15" font-weight="bold">Coverage {_moment(start)} to {_moment(end)} UTC</text>',
        *_legend(len(topics) - len(shown)),
        *scale.ticks(TOP, TOP + LINE * len(shown)),
    ]
    for at, key in enumerate(sorted(shown)):
        parts += _line(key, topics[key], scale, TOP + at * LINE)
    if not shown:
        parts.append(f'<text x="10" y="{TOP + BAR}">There is no record of any topic.</text>')
    return "\n".join([*parts, "</svg>", ""])


def _share(days: Iterable[CoverageDay]) -> float:
    days = list(days)
    return sum(day.covered_ns for day in days) / max(1, sum(day.followed_ns for day in days))


class _Scale:
    """Where a time lies from left to right."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self._unit = (WIDTH - LABEL - SHARE) / (end - start)

    def at(self, ts: int) -> float:
        return LABEL + (min(max(ts, self.start), self.end) - self.start) * self._unit

    def bar(self, span: Span, y: float, height: float, colour: str, words: str = "", least: float = 0.0) -> str:
        x = self.at(span[0])
        width = max(self.at(span[1]) - x, least)
        told = f"<title>{_text(words)}</title>" if words else ""
        return f'<rect x="{x:.2f}" y="{y:g}" width="{width:.2f}" height="{height:g}" fill="{colour}">{told}</rect>'

    def ticks(self, top: int, bottom: int) -> Iterator[str]:
        whole = (self.end - self.start) / SECOND_NS
        step = next((step for step in STEPS_S if whole / step <= MOST_TICKS), None)
        step = step or DAY_S * (1 + round(whole / DAY_S / MOST_TICKS))
        ts = (self.start // (step * SECOND_NS) + 1) * step * SECOND_NS
        while ts < self.end:
            x = self.at(ts)
            moment = datetime.fromtimestamp(ts // SECOND_NS, UTC)
            is_day = ts % (DAY_S * SECOND_NS) == 0
            words = f"{moment:%m-%d}" if is_day else f"{moment:%H:%M:%S}" if step < 60 else f"{moment:%H:%M}"
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{bottom}" stroke="#999" stroke-width="0.5"/>'
            yield f'<text x="{x:.1f}" y="{top - 10}" text-anchor="middle" fill="#666">{words}</text>'
            ts += step * SECOND_NS


def _legend(left_out: int) -> Iterator[str]:
    x = LABEL
    for name, colour in COLOURS.items():
        yield f'<rect x="{x}" y="29" width="12" height="12" fill="{colour}"/><text x="{x + 17}" y="39">{name}</text>'
        x += 110
    if left_out:
        yield f'<text x="10" y="39" fill="#666">the worst topics; {left_out} more are left out</text>'


def _line(key: Key, days: Sequence[CoverageDay], scale: _Scale, top: int) -> Iterator[str]:
    label = printable(" ".join(key))
    short = label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"
    share = _share(days)
    followed = union(span for day in days for span in day.followed)
    covered = union(span for day in days for span in day.covered)
    gaps = [gap for day in days for gap in day.gaps]
    yield f'<text x="10" y="{top + BAR - 2}">{_text(short)}<title>{_text(label)}</title></text>'
    yield scale.bar((scale.start, scale.end), top, BAR, COLOURS["not followed"])
    for span in followed:
        yield scale.bar(span, top, BAR, COLOURS["covered"])
    for span in _seen(minus(followed, covered), scale):
        yield scale.bar(span, top, BAR, COLOURS["missing"], _words(gaps, span), LEAST)
    mended = union((gap.ts_from, gap.ts_to or scale.end) for gap in gaps if gap.is_mended)
    for span in _seen(mended, scale):
        yield scale.bar(span, top + BAR - 4, 4, COLOURS["mended"], _words(gaps, span), LEAST)
    untold = union((gap.ts_from, gap.ts_to or scale.end) for gap in gaps if gap.cause == "untold")
    for span in _seen(untold, scale):
        yield scale.bar(span, top, 5, COLOURS["untold"], _words(gaps, span), 2 * LEAST)
    words = "nothing came" if not any(day.records for day in days) else percent(share)
    yield f'<text x="{WIDTH - 10}" y="{top + BAR - 2}" text-anchor="end">{words}</text>'


def percent(share: float) -> str:
    """A share in words; only what is whole is 100 %."""
    return "100 %" if share >= 1 else f"{int(share * 10_000) / 100:.2f} %"


def _seen(spans: Iterable[Span], scale: _Scale) -> Iterator[Span]:
    """Spans, joined where they lie within one pixel."""
    held: Span | None = None
    for span in spans:
        if held is not None and scale.at(span[0]) - scale.at(held[0]) < LEAST:
            held = held[0], max(held[1], span[1])
            continue
        if held is not None:
            yield held
        held = span
    if held is not None:
        yield held


def _words(gaps: Iterable[CoverageGap], span: Span) -> str:
    """The first of the gaps that lie there, and how many more do."""
    found = [gap for gap in gaps if gap.ts_from < span[1] and (gap.ts_to is None or gap.ts_to > span[0])]
    if not found:
        return ""
    first = found[0]
    end = "it is open" if first.ts_to is None else f"to {_moment(first.ts_to)}"
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{first.cause}{f' ({first.repair})' if first.repair else ''} from {_moment(first.ts_from)} {end}{more}"


def _moment(ts: int) -> str:
    return f"{datetime.fromtimestamp(ts // SECOND_NS, UTC):%Y-%m-%d %H:%M:%S}"


def _text(words: str) -> str:
    """Text of strangers in a picture: it is no markup."""
    return escape(printable(words), quote=True)
