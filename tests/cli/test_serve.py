"""`aggregator replay --serve` as a program: an ordinary `tail` reads it, and it ends when it is asked to."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from aggregator.cli import group
from tests.feed.test_replaying import BASE_NS, FIRST, LONG_S, recorded, trade

pytestmark = pytest.mark.waits
ROOT = Path(__file__).resolve().parents[2]


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aggregator", *arguments, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_tail_reads_what_was_recorded_and_a_signal_ends_it(tmp_path: Path) -> None:
    lines = await recorded(tmp_path / "data", "files", [trade(n) for n in range(100)])
    socket = str(tmp_path / "replay.sock")
    replay = await start(
        "replay", "--serve", f"unix:{socket}", "--speed", "max", "--start", str(BASE_NS + 5 * 10**9), f"{tmp_path}/data"
    )
    assert replay.stderr is not None
    async with asyncio.timeout(LONG_S):
        said = (await replay.stderr.readline()).decode()
        assert said.startswith(f"replay: served at unix:{socket}, of epoch {FIRST}; ")
        tail = await start("tail", "--socket", socket, "--json", "trades:*:*")
        out, err = await tail.communicate()
        assert (tail.returncode, b"no topic fits" in err, out) == (0, True, b"".join(lines[5:]))
        replay.terminate()
        assert await replay.wait() == 0
    assert not Path(socket).exists()


async def test_a_signal_ends_a_replay_that_somebody_reads(tmp_path: Path) -> None:
    await recorded(tmp_path / "data", "files", [trade(n) for n in range(100)])
    socket = str(tmp_path / "replay.sock")
    replay = await start("replay", "--serve", f"unix:{socket}", "--wait", "0", f"{tmp_path}/data")
    assert replay.stderr is not None
    async with asyncio.timeout(LONG_S):
        await replay.stderr.readline()
        reader, writer = await asyncio.open_unix_connection(socket)
        writer.write(b"*:*:*\n")
        while json.loads(await reader.readline())["type"] != "trade":
            pass
        replay.terminate()
        *_, last = (await reader.read()).splitlines()
        assert json.loads(last) == {"type": "bye", "reason": "the replay was stopped", "id": None}
        assert await replay.wait() == 0
        writer.close()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--serve", "unix:x.sock", "--out", "there", "FILE"], 2, "leave --config and --out out"),
        (["--serve", "tcp:0.0.0.0:8790", "FILE"], 2, "write tcp:127.0.0.1:8790"),
        (["--serve", "nowhere", "FILE"], 2, "is not an address"),
        (["--serve", "unix:x.sock", "--speed", "fast", "FILE"], 2, "write 1, 10, 0.5, or max"),
        (["--serve", "unix:x.sock", "--start", "noon", "FILE"], 2, "write it like 2026-11-28T14:00:00 (UTC)"),
        (["--start", "2026-11-28", "FILE"], 2, "--start, --end and --wait are for --serve"),
        (["DIRECTORY"], 2, "is a directory: only --serve reads those"),
        (["--serve", "unix:x.sock", "DIRECTORY"], 78, "captures are named one by one"),
        (["--serve", "unix:x.sock", "FILE", "CAPTURE"], 78, "name those of one kind"),
        (["--serve", "unix:x.sock", "FILE"], 78, "there is no record to replay"),
    ],
)
def test_what_cannot_be_served_is_said(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "trades.ndjson").write_bytes(b"")
    (tmp_path / "a.jsonl").write_text("{}\n")
    named = {"FILE": "trades.ndjson", "CAPTURE": "a.jsonl", "DIRECTORY": "empty"}
    given = [str(tmp_path / named[each]) if each in named else each for each in arguments]
    result = CliRunner().invoke(group, ["replay", *given])
    assert said in " ".join(result.output.split()), result.output
    assert result.exit_code == code
