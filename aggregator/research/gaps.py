"""The gaps of a recording as intervals, with which rows are masked."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, overload

from msgspec import Struct, structs

from aggregator.records import Gap
from aggregator.research.spans import Span, minus, union
from aggregator.research.strands import PAST
from aggregator.tables.extras import needed

MENDED = frozenset({"full", "not_needed"})  # nothing is missing after all


class GapInterval(Struct, frozen=True, kw_only=True):
    """A time in which something is missing, from `ts_from` to `ts_to` (ns).

    symbol, raw_symbol, channel: null: of every one of them; exchange: empty: of every one
    ts_to: null: it was open when the recording ended
    is_mended: whether everything was had after all
    missed: how many records are missing; null: nobody knows
    """

    exchange: str
    symbol: str | None
    raw_symbol: str | None
    channel: str | None
    cause: str
    ts_from: int
    ts_to: int | None
    repair: str | None
    is_mended: bool
    missed: int | None
    recovered: int | None
    conn: str
    gap_id: str
    epoch: str


def intervals(gaps: Iterable[tuple[str, Gap]]) -> list[GapInterval]:
    """The intervals of gaps with their epochs, as they come in the stream; one without a beginning is whole."""
    opened: dict[tuple[str, str, str | None, str | None], tuple[str, Gap]] = {}
    found: list[GapInterval] = []
    for epoch, gap in gaps:
        key = (gap.gap_id, gap.exchange, gap.raw_symbol, gap.channel)
        if gap.phase == "open":
            opened.setdefault(key, (epoch, gap))
            continue
        _, begun = opened.pop(key, (epoch, gap))
        found.append(
            _interval(epoch, gap, min(begun.ts_from, gap.ts_from), gap.ts_recv if gap.ts_to is None else gap.ts_to)
        )
    found += [_interval(epoch, gap, gap.ts_from, None) for epoch, gap in opened.values()]
    return sorted(_filled(found), key=lambda each: (each.ts_from, each.gap_id))


def _filled(found: Sequence[GapInterval]) -> list[GapInterval]:
    """Gaps, of which those are mended that lie wholly in a time of which `aggregator backfill` had everything."""
    spans: dict[tuple[str, str | None, str | None], list[Span]] = {}
    for each in found:
        if each.conn.endswith(PAST) and each.is_mended and each.ts_to is not None:
            spans.setdefault((each.exchange, each.raw_symbol, each.channel), []).append((each.ts_from, each.ts_to))
    filled = {key: union(each) for key, each in spans.items()}

    def is_filled(each: GapInterval) -> bool:
        there = filled.get((each.exchange, each.raw_symbol, each.channel))
        return there is not None and each.ts_to is not None and not minus([(each.ts_from, each.ts_to)], there)

    return [structs.replace(each, is_mended=each.is_mended or is_filled(each)) for each in found]


def _interval(epoch: str, gap: Gap, start: int, end: int | None) -> GapInterval:
    return GapInterval(
        exchange=gap.exchange,
        symbol=gap.symbol,
        raw_symbol=gap.raw_symbol,
        channel=gap.channel,
        cause=gap.cause,
        ts_from=start,
        ts_to=None if end is None else max(start, end),
        repair=gap.repair,
        is_mended=gap.repair in MENDED,
        missed=gap.missed,
        recovered=gap.recovered,
        conn=gap.conn,
        gap_id=gap.gap_id,
        epoch=epoch,
    )


class Gaps(Sequence[GapInterval]):
    """Gaps as intervals, the earliest first."""

    def __init__(self, found: Sequence[GapInterval]) -> None:
        """Hold these."""
        self._found = list(found)

    @overload
    def __getitem__(self, at: int) -> GapInterval: ...
    @overload
    def __getitem__(self, at: slice) -> "Gaps": ...
    def __getitem__(self, at: int | slice) -> "GapInterval | Gaps":
        """One of them, or some."""
        return Gaps(self._found[at]) if isinstance(at, slice) else self._found[at]

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"Gaps({len(self)}): mask(), to_polars(), to_pandas(), to_pyarrow()"

    def unmended(self) -> "Gaps":
        """Those after which something is still missing."""
        return Gaps([each for each in self._found if not each.is_mended])

    def spans(self) -> list[tuple[int, int | None]]:
        """The times that they cover together, from and to (ns), without overlaps; the last may have no end."""
        found: list[tuple[int, int | None]] = []
        for each in self._found:
            if found and (found[-1][1] is None or each.ts_from <= found[-1][1]):
                start, end = found[-1]
                found[-1] = (start, None if end is None or each.ts_to is None else max(end, each.ts_to))
            else:
                found.append((each.ts_from, each.ts_to))
        return found

    def mask(self, times: Any) -> Any:
        """Tell of each time whether it lies in a gap, ends included.

        times: a column of polars, pandas or pyarrow (`frame["ts_recv"]`), or any integers; a mask of the same library
        """
        spans = self.spans()
        starts = [start for start, _ in spans]

        def is_within(ts: int | None) -> bool:
            at = bisect_right(starts, ts) - 1 if ts is not None else -1
            if at < 0 or ts is None:
                return False
            end = spans[at][1]
            return end is None or ts <= end

        return _like(times, [is_within(ts) for ts in _integers(times)])

    def to_pyarrow(self) -> Any:
        """A table of pyarrow."""
        pa = needed("pyarrow")
        time, text = pa.timestamp("ns", "UTC"), pa.string()
        special = {
            "ts_from": time,
            "ts_to": time,
            "is_mended": pa.bool_(),
            "missed": pa.int64(),
            "recovered": pa.int64(),
        }
        names = [field.name for field in structs.fields(GapInterval)]
        form = pa.schema([(name, special.get(name, text)) for name in names])
        return pa.table({name: [getattr(each, name) for each in self._found] for name in names}, schema=form)

    def to_polars(self) -> Any:
        """A frame of polars."""
        return needed("polars").from_arrow(self.to_pyarrow())

    def to_pandas(self) -> Any:
        """A frame of pandas."""
        pandas, pa = needed("pandas"), needed("pyarrow")
        return self.to_pyarrow().to_pandas(types_mapper={pa.int64(): pandas.Int64Dtype()}.get)


def _integers(times: Any) -> list[int | None]:
    """Times as nanoseconds, whichever library's they are."""
    library = type(times).__module__.partition(".")[0]
    if library == "polars":
        whole = times.cast(needed("polars").Int64) if times.dtype.is_integer() else times.dt.epoch("ns")
        return list(whole.to_list())
    if library == "pyarrow":
        return list(times.cast(needed("pyarrow").int64()).to_pylist())
    if library == "pandas":
        return [None if needed("pandas").isna(each) else getattr(each, "value", each) for each in times]
    return list(times)


def _like(times: Any, told: list[bool]) -> Any:
    library = type(times).__module__.partition(".")[0]
    if library == "polars":
        return needed("polars").Series("gap", told, dtype=needed("polars").Boolean)
    if library == "pandas":
        return needed("pandas").Series(told, index=times.index, dtype=bool)
    return needed("pyarrow").array(told, needed("pyarrow").bool_()) if library == "pyarrow" else told
