"""How complete a daemon's recordings are, as a process of its own tells it, within bounds."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from aggregator.bus.insight import CoverageQuery, NoCoverage, RecordingPlace
from aggregator.daemon import coverage
from aggregator.daemon.coverage import CoverageTeller, recordings_of
from aggregator.feed.protocol import BadRequest
from aggregator.sinks.files import SINK as FILES
from aggregator.sinks.journal.sink import SINK as JOURNAL
from aggregator.sinks.stdout import SINK as STDOUT

pytestmark = pytest.mark.waits

DAY = "2026-11-29"
LINES = (
    '{"type":"health","exchange":"alpha","channel":"trades","symbol":"BTC/USD","raw_symbol":"BTCUSD","ts_recv":%d,'
    '"offset":1,"conn":"alpha/main.1#1","state":"live"}\n'
    '{"type":"trade","exchange":"alpha","symbol":"BTC/USD","raw_symbol":"BTCUSD","ts_recv":%d,"offset":2,'
    '"conn":"alpha/main.1#1","id":"1","price":"10.5","size":"1"}\n'
)
NOON = 1_795_953_600 * 10**9


def recording(tmp_path: Path) -> RecordingPlace:
    """Two records of an hour."""
    folder = tmp_path / "out" / "2026-11-29" / "alpha"
    folder.mkdir(parents=True)
    (folder / "trades.ndjson").write_text(LINES % (NOON, NOON + 3600 * 10**9))
    return RecordingPlace(name="files", type="files", path=str(tmp_path / "out"))


def query(**changed: str | None) -> CoverageQuery:
    return CoverageQuery(**{"recording": "files", "first": DAY, "last": DAY, **changed})  # type: ignore[arg-type]


def put_in_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    """Have a program of ours asked in the place of the real one."""
    program = tmp_path / "program"
    program.write_text(f"#!{sys.executable}\n{code}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def test_what_can_be_read_as_a_recording_is_one() -> None:
    sinks = [FILES.configured(path=Path("/data")), STDOUT.configured(), JOURNAL.configured(path=Path("/journal"))]
    found = [(each.name, each.type, each.path) for each in recordings_of(sinks)]
    assert found == [("files /data", "files", "/data"), ("journal", "journal", "/journal")]


async def test_it_tells_what_the_command_tells(tmp_path: Path) -> None:
    place = recording(tmp_path)
    told = json.loads(await CoverageTeller().tell(query(), [place]))
    (day,) = told["days"]
    assert (day["day"], day["exchange"], day["channel"], day["percent"], day["records"]) == (
        DAY,
        "alpha",
        "trades",
        100.0,
        1,
    )
    assert (day["followed"], day["covered"]) == ([], []), "spans only fill the answer"
    other = json.loads(await CoverageTeller().tell(query(exchange="beta"), [place]))
    assert other["days"] == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"recording": "../etc"}, "is no recording of this daemon: files"),
        ({"first": "yesterday"}, "are no days"),
        ({"first": "2026-10-29"}, "32 days are asked for"),
        ({"first": "2026-11-30"}, "0 days are asked for"),
        ({"exchange": "--svg=x"}, "is no id of an exchange"),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_the_reason(
    tmp_path: Path, changed: dict[str, str], said: str
) -> None:
    with pytest.raises(BadRequest, match=said):
        await CoverageTeller().tell(query(**changed), [RecordingPlace(name="files", type="files", path=str(tmp_path))])


async def test_what_the_process_complains_of_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoCoverage, match=r"no recording: no \.ndjson"):
        await CoverageTeller().tell(query(), [RecordingPlace(name="files", type="files", path=str(tmp_path))])


HANGS = "import os, time, pathlib; pathlib.Path({pid!r}).write_text(str(os.getpid())); time.sleep(600)"


@pytest.mark.parametrize(
    ("name", "value", "code", "said"),
    [
        ("LONGEST_S", 1.0, HANGS, "takes longer than 1 s: ask for fewer days"),
        ("LARGEST_ANSWER_BYTES", 100_000, HANGS.replace("time.sleep", "print('x' * 10**6); time.sleep"), "larger than"),
        ("LARGEST_MEMORY_BYTES", 1_000_000, HANGS, "more than 1000000 bytes of memory"),
    ],
)
async def test_a_process_that_takes_too_much_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: float, code: str, said: str
) -> None:
    place, pid = recording(tmp_path), tmp_path / "pid"
    put_in_place(monkeypatch, tmp_path, code.format(pid=str(pid)))
    monkeypatch.setattr(coverage, name, value)
    with pytest.raises(NoCoverage, match=said):
        await CoverageTeller().tell(query(), [place])
    assert not pid.exists() or has_ended(int(pid.read_text()))


async def test_a_process_ends_though_nobody_has_read_what_it_said() -> None:
    """Where its pipe is full, nobody hears that it has ended before that is read: all questions would wait for ever."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "while True: print('x' * 10**6)",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await asyncio.sleep(0.5)  # by then more waits than is held here
    async with asyncio.timeout(20):
        await coverage._end(process, [])
    assert process.returncode == -signal.SIGKILL


async def test_who_leaves_ends_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place, pid = recording(tmp_path), tmp_path / "pid"
    put_in_place(monkeypatch, tmp_path, HANGS.format(pid=str(pid)))
    asking = asyncio.ensure_future(CoverageTeller().tell(query(), [place]))
    async with asyncio.timeout(30):
        while not pid.exists() or not pid.read_text():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert has_ended(int(pid.read_text()))


async def test_one_is_answered_after_the_other_and_not_too_many_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place, count = recording(tmp_path), tmp_path / "count"
    put_in_place(monkeypatch, tmp_path, f"import time; open({str(count)!r}, 'a').write('x'); time.sleep(0.3); print(1)")
    teller = CoverageTeller()
    asked = [asyncio.ensure_future(teller.tell(query(), [place])) for _ in range(coverage.MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(NoCoverage, match="ask again later"):
        await teller.tell(query(), [place])
    assert await asyncio.gather(*asked) == [b"1\n"] * coverage.MOST_WAITING
    assert count.read_text() == "x", "what was told just now is told again"


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
