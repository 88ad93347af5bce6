"""This build on what an earlier one left: its configuration, its state, its files. And what a later one would leave.

`tests/daemon/upgrading/make.py` makes what earlier builds left, by running them.
"""

import json
import logging
import re
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from aggregator.catalog.registry import known_channels
from aggregator.config.config import ConfigErrors, load_config
from aggregator.ingest import checkpoint_file, listing, state
from aggregator.sinks.repair import repair
from tests.daemon.test_daemon import WORKERS, exchanges, running, until

pytestmark = pytest.mark.waits

__all__ = ["exchanges"]  # the fixture

LEFT = Path(__file__).resolve().parent / "upgrading"
BUILDS = sorted(path.name.removesuffix(".tar.gz") for path in LEFT.glob("*.tar.gz"))
LATER = state.VERSION + 1


def unpack(build: str, directory: Path) -> None:
    with tarfile.open(LEFT / f"{build}.tar.gz") as archive:
        archive.extractall(directory, filter="data")


def config_on(directory: Path, exchanges: str) -> Path:
    """The configuration that was left, whose exchanges are where they are now."""
    (port,) = set(re.findall(r"127\.0\.0\.1:(\d+)", exchanges))
    path = directory / "aggregator.toml"
    text = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", path.read_text())
    text = f"workers = {WORKERS}\n{text}"
    path.write_text(text.replace('"state"', f'"{directory}/state"').replace('"data"', f'"{directory}/data"'))
    return path


def lines(path: Path) -> Iterator[dict[str, object]]:
    blob = path.read_bytes()
    if path.suffix == ".zst":
        blob = zstandard.ZstdDecompressor().decompressobj().decompress(blob)
    yield from map(json.loads, blob.splitlines())


def files(directory: Path) -> set[Path]:
    return {path for path in (directory / "data").rglob("*.ndjson*") if path.is_file()}


def test_there_are_builds_to_start_on() -> None:
    assert BUILDS == ["49c37db-ended", "49c37db-killed", "8d41009-ended", "8d41009-killed"]


@pytest.mark.parametrize("build", BUILDS)
def test_it_starts_on_what_an_earlier_build_left(build: str, tmp_path: Path, exchanges: str) -> None:
    unpack(build, tmp_path)
    before = {path: path.read_bytes() for path in files(tmp_path) if path.suffix == ".zst"}
    unclosed = {path for path in files(tmp_path) if path.suffix != ".zst"}
    assert bool(unclosed) == build.endswith("killed")
    left = list((tmp_path / "state/left").glob("*.json")) if (tmp_path / "state/left").exists() else []
    owed = {topic_of(row) for path in left for row in rows_of(path)}
    assert bool(owed) == (build != "8d41009-killed")  # that build noted nothing while it ran
    with running(config_on(tmp_path, exchanges)) as daemon:
        until(lambda: len(re.findall(r"(?:kraken|binance): live", daemon.log)) == 2, what="both exchanges")
        assert daemon.signal(signal.SIGTERM) == 0
        for said in ("set aside", "cannot be read", "is lost", "is not a key"):
            assert said not in daemon.log
    assert {path: path.read_bytes() for path in before} == before
    after = [line for path in files(tmp_path) - before.keys() for line in lines(path)]
    closed = {topic_of(line) for line in after if (line["type"], line.get("phase")) == ("gap", "close")}
    assert owed <= closed, "each gap that was open is told to be over"
    assert not [path for path in files(tmp_path) if path.suffix != ".zst"], "each file has its end"
    assert all(list(lines(path))[-1]["type"] == "footer" for path in files(tmp_path))
    repaired = [line for line in after if line.get("conn") == "files" and line.get("cause") == "restart"]
    assert bool(repaired) == bool(unclosed)


def rows_of(path: Path) -> list[dict[str, object]]:
    """The topics that a file of state tells of, and that something is missing of."""
    found = json.loads(path.read_bytes())
    rows = found if isinstance(found, list) else found["rows"]
    return [row | {"exchange": path.stem} for row in rows if row["carried"].get("gap") or row.get("is_followed")]


def topic_of(row: dict[str, object]) -> tuple[object, ...]:
    return row["exchange"], row.get("channel"), row.get("raw_symbol")


@pytest.mark.parametrize("build", BUILDS)
def test_instruments_that_were_kept_are_known(build: str, tmp_path: Path) -> None:
    unpack(build, tmp_path)
    found = listing.load(tmp_path / "state/instruments/kraken.json")
    assert found is not None
    assert {instrument.symbol for instrument in found.instruments} >= {"BTC/USD"}


# --- what a later version would leave ---------------------------------------------------------------------------------


def test_state_of_a_later_version_is_set_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    left, kept = tmp_path / "left.json", tmp_path / "kept.json"
    left.write_text(f'{{"version":{LATER},"topics":{{}}}}')
    kept.write_text(f'{{"version":{LATER},"markets":[]}}')
    assert checkpoint_file.load(left) is None
    assert listing.load(kept) is None
    said = f"it is of version {LATER}, and this program reads no later one than {state.VERSION}"
    for path in (left, kept):
        assert f"{path} is set aside as {path.name}.bad: {said}" in caplog.text
        assert path.with_name(f"{path.name}.bad").exists()
        assert not path.exists()


def test_state_is_written_with_its_version(tmp_path: Path) -> None:
    checkpoint_file.save([], tmp_path / "left.json", 1)
    listing.save(listing.Listed(1, (), (), frozenset()), tmp_path / "kept.json")
    for name in ("left.json", "kept.json"):
        assert json.loads((tmp_path / name).read_text())["version"] == state.VERSION
    assert checkpoint_file.load(tmp_path / "left.json") == checkpoint_file.CheckpointFile(1, None)


def test_an_unfinished_file_of_a_later_schema_stays_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "trades-20260101T000000Z-1.ndjson"
    blob = b'{"type":"header","schema":99,"epoch":"e","offset":0,"ts":1}\n{"type":"trade","offset":1}\n{"torn'
    path.write_bytes(blob)
    with caplog.at_level(logging.ERROR):
        assert repair(path, 5) is False
    assert path.read_bytes() == blob
    assert "a later version of this program wrote it (schema 99)" in caplog.text


@pytest.mark.parametrize("version", [LATER, 77])
def test_a_configuration_of_a_later_version_is_refused_with_that_alone(tmp_path: Path, version: int) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f'# new\nversion = {version}\n[[new]]\nid = "x"\n')
    with pytest.raises(ConfigErrors) as raised:
        load_config(path, known_channels=known_channels)
    (problem,) = raised.value.problems
    assert (problem.line, problem.key) == (2, "version")
    assert f"{version} is of a later aggregator than this one, which reads 1" in problem.text


@pytest.mark.parametrize(("version", "said"), [("0", "must be at least 1"), ('"1"', "must be a whole number")])
def test_what_is_no_version_is_a_mistake_like_others(tmp_path: Path, version: str, said: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f"version = {version}\n")
    with pytest.raises(ConfigErrors, match=said):
        load_config(path, known_channels=known_channels)
