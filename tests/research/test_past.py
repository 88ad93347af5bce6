"""What `aggregator backfill` brought beside a recording: no trade comes twice, and the hole it fills is covered."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aggregator.backfill.files import HistoryFiles, Job
from aggregator.backfill.running import BackfillRun
from aggregator.backfill.walks import Target
from aggregator.exchange import Page, PastPages, Request
from aggregator.records import Gap, Health, Instrument, Record, Trade
from aggregator.research import Recording, coverage_of
from aggregator.research.converting import convert
from aggregator.research.querying import Database
from tests.support.written import FIRST, NOON, SECOND_NS, as_lines, numbered

pytestmark = pytest.mark.waits
NAMES: dict[str, Any] = {"exchange": "kraken", "symbol": "BTC/USD", "raw_symbol": "BTC/USD"}
INSTRUMENT = Instrument(raw_symbol="BTC/USD", symbol="BTC/USD", exchange="kraken", base="BTC", quote="USD")
A = "kraken/main.1#1"
WHOLE = [(second, 100 + second) for second in range(60)]  # a trade each second, and its number


def trade(second: float, number: int, **more: Any) -> Trade:
    ts = NOON + round(second * SECOND_NS)
    said: dict[str, Any] = {"ts_recv": ts + 5_000_000, "ts_event": ts, "conn": A, "source": "ws", "sequence": number}
    return Trade(**NAMES | said | {"id": str(number), "price": "1.10", "size": "2"} | more)


def health(second: float, state: Any) -> Health:
    ts = NOON + round(second * SECOND_NS)
    return Health(**NAMES, ts_recv=ts, conn=A, source="derived", channel="trades", state=state)


def gap(second: float, until: float | None = None) -> Gap:
    at = [NOON + round(s * SECOND_NS) for s in (second, until or 0)]
    over: dict[str, Any] = {} if until is None else {"ts_to": at[1], "repair": "none"}
    return Gap(
        **NAMES, ts_recv=at[until is not None], conn=A, source="derived", gap_id="g", channel="trades",
        phase="open" if until is None else "close", cause="disconnect", ts_from=at[0], **over,
    )  # fmt: skip


def recorded() -> list[Record]:
    """A minute, of which the seconds from 20 to 40 are missing."""
    said: list[Record] = [health(0, "live"), *(trade(s, n) for s, n in WHOLE if s <= 20), gap(20.5)]
    said += [gap(20.5, 39.5), *(trade(s, n) for s, n in WHOLE if s >= 40), health(60, "live")]
    return numbered(said)


def backfilled(out: Path, start: float, end: float, trades: Sequence[Trade], *, walk: Any = "forward") -> None:
    """What the command writes of an exchange that has these trades."""

    def parse(page: Page, _: bytes) -> list[Trade]:
        return [Trade(raw_symbol="BTC/USD", id=t.id, price=t.price, size=t.size, sequence=t.sequence,
                      ts_event=t.ts_event) for t in trades if page.start <= (t.ts_event or 0) < page.end]  # fmt: skip

    history = PastPages(channel="trades", walk=walk, request=lambda _: Request("https://x"), parse=parse, most=1000)
    target = Target(
        history=history, raw_symbol="BTC/USD", start=NOON + round(start * SECOND_NS), end=NOON + round(end * SECOND_NS)
    )
    job = Job(exchange="kraken", instrument=INSTRUMENT, target=target)

    async def fetch(_: Request) -> bytes:
        return b""

    files = HistoryFiles(out, job, lambda: NOON + 3600 * SECOND_NS)
    asyncio.run(BackfillRun(job, files, fetch, lambda: NOON + 3600 * SECOND_NS).run())
    files.close()


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """A recording with a hole, and the seconds from 10 to 50 of its past beside it."""
    as_lines(tmp_path / "2026-11-29/kraken/trades-20261129T120000Z-1.ndjson", recorded(), FIRST)
    backfilled(tmp_path, 10, 50, [trade(s, n) for s, n in WHOLE])
    return tmp_path


def ids(found: Sequence[str | None]) -> list[int]:
    return sorted(int(each or 0) for each in found)


def test_each_trade_comes_once(both: Path) -> None:
    recording = Recording(both, strict=True)
    assert ids([r.id for r in recording.records("trades") if isinstance(r, Trade)]) == [n for _, n in WHOLE]
    frame = recording.trades("kraken", "BTC/USD").to_pyarrow()
    assert ids(frame["id"].to_pylist()) == [n for _, n in WHOLE]
    late = [flags for flags in frame["flags"].to_pylist() if flags]
    assert len(late) == 19  # those that were recorded stay as they came
    some = recording.trades("kraken", "BTC/USD", NOON + 25 * SECOND_NS, NOON + 30 * SECOND_NS).to_pyarrow()
    assert ids(some["id"].to_pylist()) == [125, 126, 127, 128, 129]  # the past lies where it happened


def test_so_it_is_in_parquet(both: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("parquet")
    assert {one.state for one in convert([both], out)} == {"done"}
    assert ids(Recording(out).trades("kraken").to_pyarrow()["id"].to_pylist()) == [n for _, n in WHOLE]
    with Database(out) as database:
        assert database.rows("SELECT count(*), count(DISTINCT id) FROM trades")[1] == [("60", "60")]


def test_so_it_is_in_sql(both: Path) -> None:
    with Database(both) as database:
        assert database.rows("SELECT count(*), count(DISTINCT id) FROM trades")[1] == [("60", "60")]
        asked = database.rows("SELECT count(*) FROM trades WHERE list_contains(flags, 'backfill')")[1]
        assert asked == [("19",)]
        missing = database.rows("SELECT count(*) FROM gaps WHERE NOT is_mended")[1]
        assert missing == [("0",)]


def test_two_backfills_of_one_time_are_one(both: Path) -> None:
    backfilled(both, 30, 60, [trade(s, n) for s, n in WHOLE])
    assert ids([r.id for r in Recording(both).records("trades") if isinstance(r, Trade)]) == [n for _, n in WHOLE]
    with Database(both) as database:
        assert database.rows("SELECT count(*), count(DISTINCT id) FROM trades")[1] == [("60", "60")]


def test_fills_that_were_told_as_one_are_not_given_again(tmp_path: Path) -> None:
    told = [trade(1, 104, kind="aggregate", last_id="104", count=4), trade(2, 105)]
    as_lines(tmp_path / "2026-11-29/kraken/trades-20261129T120000Z-1.ndjson", numbered(told), FIRST)
    backfilled(tmp_path, 0, 10, [trade(1, n) for n in (101, 102, 103, 104)] + [trade(2, 105), trade(3, 106)])
    assert ids([r.id for r in Recording(tmp_path).records("trades") if isinstance(r, Trade)]) == [104, 105, 106]
    with Database(tmp_path) as database:
        found = database.rows("SELECT id FROM trades ORDER BY id")[1]
        assert found == [("104",), ("105",), ("106",)]


def test_a_hole_that_is_filled_is_covered(both: Path) -> None:
    (day,) = coverage_of(Recording(both)).days
    assert day.percent == 100
    assert (day.missing, day.untold) == (0, 0)
    assert all(each.is_mended for each in day.gaps)
    assert not Recording(both).gaps("kraken", "BTC/USD", "trades").unmended()


def test_without_the_past_it_was_not(tmp_path: Path) -> None:
    as_lines(tmp_path / "trades.ndjson", recorded(), FIRST)
    (day,) = coverage_of(Recording(tmp_path)).days
    assert day.percent is not None
    assert day.percent < 70


def test_a_hole_that_is_filled_in_part_is_not_covered_as_a_whole(tmp_path: Path) -> None:
    as_lines(tmp_path / "trades.ndjson", recorded(), FIRST)
    backfilled(tmp_path, 10, 30, [trade(s, n) for s, n in WHOLE])
    (day,) = coverage_of(Recording(tmp_path)).days
    assert day.percent is not None
    assert 80 < day.percent < 90
    assert len(Recording(tmp_path).gaps("kraken", "BTC/USD", "trades").unmended()) == 1


def test_a_day_that_nobody_recorded_is_covered_as_far_as_it_was_had(tmp_path: Path) -> None:
    backfilled(tmp_path, 0, 60, [trade(s, n) for s, n in WHOLE if s >= 30], walk="latest")
    (day,) = coverage_of(Recording(tmp_path)).days
    assert (day.records, day.times.late) == (30, 30)
    assert day.percent == 50
    assert [(each.cause, each.repair) for each in day.gaps] == [("expired", "none")]
