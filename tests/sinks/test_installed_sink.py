"""A sink of another distribution: `examples/sqlite-sink`, installed as anybody would, and run."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from aggregator.cli.sandbox import write_config
from aggregator.sandbox import Sandbox, SandboxSettings

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 40.0  # seconds; nothing here takes nearly as long
INSTALL = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--target"]
REFUSING = """
create trigger refusing before insert on records when new."offset" = 12
begin select raise(abort, 'twelve is not wanted here'); end
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the example is installed."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", *INSTALL, str(folder), str(ROOT / "examples/sqlite-sink")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def environment(site: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(site)))}


def check(site: Path, config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aggregator", "check", str(config)]
    return subprocess.run(command, env=environment(site), capture_output=True, text=True, check=False)


def test_its_mistakes_are_named(site: Path, tmp_path: Path) -> None:
    config = tmp_path / "daemon.toml"
    config.write_text(
        '[[exchanges]]\nid = "okx"\nchannels = ["trades"]\nsymbols = ["*"]\n'
        f'[[sinks]]\ntype = "sqlite"\npath = "{tmp_path}/r.sqlite"\ntable = "a b"\ntopics = ["trade:*:*"]\n'
    )
    done = check(site, config)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "sinks[0].table" in said
    assert "did you mean trades?" in said


async def test_what_it_takes_is_stored_once_and_what_it_refuses_is_kept(site: Path, tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    async with Sandbox(SandboxSettings(simulate=("okx",), rate=300)) as sandbox:
        config = tmp_path / "daemon.toml"
        sink = f'[[sinks]]\ntype = "sqlite"\npath = "{path}"\nbatch_age = "20ms"\n'
        config.write_text(f'state = "{tmp_path}/state"\n{write_config(sandbox, sink)}')
        await run(site, config, until=lambda: len(stored(path)) > 20)
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(REFUSING)
        await run(site, config, until=lambda: len(stored(path, but_of=stored(path)[0][0])) > 200)
    epochs = list(dict.fromkeys(epoch for epoch, _, _ in stored(path)))
    assert len(epochs) == 2
    (dead,) = (tmp_path / "state" / "dead").iterdir()
    (letter,) = map(json.loads, dead.read_text().splitlines())
    assert letter["epoch"] == epochs[1]
    assert letter["reason"] == "twelve is not wanted here"
    assert letter["record"]["offset"] == 12
    for epoch in epochs:
        offsets = [offset for own, offset, _ in stored(path) if own == epoch]
        assert offsets == [at for at in range(1, max(offsets) + 1) if (epoch, at) != (epochs[1], 12)]
    kinds = {json.loads(record)["type"] for _, _, record in stored(path)}
    assert {"instrument", "trade", "book_snapshot", "book_delta"} <= kinds


def stored(path: Path, *, but_of: str = "") -> list[tuple[str, int, str]]:
    """What the table holds: epoch, offset and the record; nothing where it is still missing."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path, timeout=10)) as database:
        try:
            query = 'select epoch, "offset", record from records where epoch != ? order by ts_recv, "offset"'
            return database.execute(query, (but_of,)).fetchall()
        except sqlite3.OperationalError:
            return []


async def run(site: Path, config: Path, *, until: Callable[[], bool]) -> None:
    """A daemon, until something is so; then it ends in order."""
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aggregator", "run", "--config", str(config),
        env=environment(site), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            while not until():
                assert daemon.returncode is None, "the daemon has ended"
                await asyncio.sleep(0.05)
    finally:
        daemon.terminate()
        _, said = await daemon.communicate()
    assert daemon.returncode == 0, said.decode()
