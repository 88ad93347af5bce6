"""The `csv` sink: whole files with fixed columns, and a word about each record that is in none."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.records import Gap
from aggregator.research import Recording
from aggregator.sinks.csv import SINK
from aggregator.sinks.intervals import MARKER
from aggregator.sinks.journal.sink import SINK as JOURNAL
from aggregator.sinks.running import Running, running
from tests.support.written import FIRST, NOON, SECOND, SECOND_NS, sold

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.waits

SOON = structs.replace(SINK.defaults, batch_age=0.01, backoff=0.01, longest_backoff=0.02)
SPILLING = structs.replace(SOON, when_full="spill")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "sinks" / "csv.md"


async def until(condition: Any) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come")


async def begun(home: Path, bus: Bus, delivery: Any = SOON, **more: Any) -> Running:
    config = SINK.configured(delivery, path=home / "out", **more)
    sink = running(config, bus, clock=lambda: NOON, dead=home, places=home / "places")
    await sink.start()
    return sink


async def ended(*sinks: Running) -> None:
    for sink in sinks:
        sink.end()
        assert sink.task is not None
        await sink.task


def files(home: Path) -> list[Path]:
    return sorted(path for path in (home / "out").rglob("*") if path.is_file())


@pytest.mark.parametrize("compress", [False, True])
async def test_files_appear_whole_and_the_page_reads_them(compress: bool, tmp_path: Path) -> None:
    pytest.importorskip("polars")
    bus = Bus(FIRST)
    sink = await begun(tmp_path, bus, compress=compress)
    bus.publish([sold(at, exchange="kraken", price="0.1234567890123456789", size="1.10") for at in range(300)])
    await until(lambda: sink.status().written == 300)
    assert [path.name for path in files(tmp_path)] == [MARKER]
    await ended(sink)
    (path,) = files(tmp_path)
    assert path.name.endswith(".csv.zst" if compress else ".csv")
    assert [record.offset for record in Recording(tmp_path / "out").records()] == [*range(1, 301)]
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    snippet = snippet.replace("/var/lib/aggregator/csv", str(tmp_path / "out")).replace("*.csv", f"*{path.suffix}")
    known: dict[str, Any] = {}
    exec(snippet, known)  # noqa: S102 - our own page
    assert known["trades"]["price"].to_list() == ["0.1234567890123456789"] * 300
    assert known["trades"]["ts_recv"].to_list() == [NOON + at * SECOND_NS for at in range(300)]


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.sinks import test_csv
asyncio.run(test_csv.live_until_killed(Path(sys.argv[1]), sys.argv[2] == "spill"))
"""


async def live_until_killed(home: Path, is_spilling: bool) -> None:
    """The life of a daemon that is killed when 3,000 records are in files, and 3,000 are not."""
    bus = Bus(FIRST)
    if is_spilling:
        await running(JOURNAL.configured(path=home / "journal"), bus).start()
    sink = await begun(home, bus, SPILLING if is_spilling else SOON)
    for start in range(0, 6000, 1000):
        bus.publish([sold(at) for at in range(start, start + 1000)])
        await until(lambda until=start + 1000: sink.status().written == until)
        if start == 2000:
            sink.reopen()
            await until(lambda: any(path.suffix == ".csv" for path in files(home)))
    await asyncio.sleep(0.5)  # the journal and the place reach the disk
    os.kill(os.getpid(), signal.SIGKILL)


def killed(home: Path, mode: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(home), mode], check=False, timeout=50)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("mode", ["spill", "alone"])
async def test_a_kill_loses_nothing_that_is_not_told(mode: str, tmp_path: Path) -> None:
    killed(tmp_path, mode)
    assert [record.offset for record in Recording(tmp_path / "out").records()] == [*range(1, 3001)]
    bus, others = Bus(SECOND), []
    if mode == "spill":
        others.append(running(JOURNAL.configured(path=tmp_path / "journal"), bus, before=FIRST))
        await others[0].start()
    sink = await begun(tmp_path, bus, SPILLING if mode == "spill" else SOON)
    if mode == "spill":
        await until(lambda: sink.status().written >= 3000)
    await ended(sink, *others)
    records = list(Recording(tmp_path / "out").records())
    gaps = [record for record in records if isinstance(record, Gap) and record.conn == "csv"]
    told = [record.offset for record in records if not isinstance(record, Gap)]
    assert told == [*range(1, 6001 if mode == "spill" else 3001)]
    if mode == "alone":
        assert [(gap.cause, gap.ts_from) for gap in gaps] == [("restart", NOON + 3000 * SECOND_NS)]
