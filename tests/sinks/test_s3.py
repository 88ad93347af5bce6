"""Which files the `s3` sink takes for closed, and what its configuration may not say."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from aggregator.bus.bus import Bus
from aggregator.errors import ConfigError
from aggregator.records import Trade
from aggregator.sinks import s3
from aggregator.sinks.files import SINK as FILES
from aggregator.sinks.intervals import MARKER, Interval
from aggregator.sinks.running import running
from aggregator.sinks.s3 import S3Settings, S3Writer, closed_files
from aggregator.sinks.sink import NETWORK, Context
from aggregator.tables.merging import NOTE, PREFIX
from tests.sinks.test_brokers import configured

STAMP = "trades-20260102T030000Z-17"
EPOCH = "20260102T030405.000000Z"


def names(root: Path, *, plain: bool = False) -> list[str]:
    return [path.name for path in closed_files(root, plain=plain)]


def test_compressed_files_are_closed_and_what_is_under_way_is_not(tmp_path: Path) -> None:
    for name in (f"{STAMP}.ndjson.zst", f"{STAMP}.ndjson", f".{STAMP}.ndjson.zst.tmp", "trades.ndjson", "x.txt"):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / name).write_bytes(b"half")
    assert names(tmp_path) == [f"{STAMP}.ndjson.zst"]
    assert names(tmp_path, plain=True) == [f"{STAMP}.ndjson.zst"], "a plain file without its footer is to be repaired"


@pytest.mark.waits
@pytest.mark.parametrize("compress", [True, False])
async def test_what_the_sink_of_files_has_closed_is_found(tmp_path: Path, compress: bool) -> None:
    sink = running(FILES.configured(path=tmp_path, compress=compress), bus := Bus(EPOCH))
    await sink.start()
    bus.publish([Trade(exchange="x", symbol="A/B", price="1", size="2", ts_recv=1)])
    while not list(tmp_path.rglob("*.ndjson")):  # noqa: ASYNC110 - another thread writes it
        await asyncio.sleep(0.01)
    assert names(tmp_path, plain=True) == []
    sink.end()
    assert sink.task is not None
    await sink.task
    assert len(names(tmp_path, plain=not compress)) == 1
    assert len(names(tmp_path)) == compress


def test_parquet_of_an_interval_that_is_not_over_waits(tmp_path: Path) -> None:
    """Where the daemon was killed while files got their names, the journal gives all of it once more."""
    for first in (1, 500, 900):
        (tmp_path / f"20260102T030405-000000Z-{first}-0.parquet").write_bytes(b"x")
    (tmp_path / MARKER).write_bytes(msgspec.json.encode(Interval("stem", EPOCH, 499, 1)))
    assert names(tmp_path) == ["20260102T030405-000000Z-1-0.parquet"]
    (tmp_path / MARKER).unlink()
    assert len(names(tmp_path)) == 3


@pytest.mark.parametrize("suffix", [".csv", ".csv.zst"])
def test_csv_waits_likewise(tmp_path: Path, suffix: str) -> None:
    for first in (1, 500):
        (tmp_path / f"20260102T030405-000000Z-{first}-0{suffix}").write_bytes(b"x")
    (tmp_path / f".20260102T030405-000000Z-1-1{suffix}").write_bytes(b"half")
    (tmp_path / MARKER).write_bytes(msgspec.json.encode(Interval("stem", EPOCH, 499, 1)))
    assert names(tmp_path) == [f"20260102T030405-000000Z-1-0{suffix}"]


def test_what_was_merged_once_is_closed_and_a_folder_in_the_middle_of_that_is_left_alone(tmp_path: Path) -> None:
    for folder in ("done", "begun"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{PREFIX}20260102T030405-000000Z-1-0.parquet").write_bytes(b"x")
    (tmp_path / "begun" / NOTE).write_bytes(b"{}")
    (tmp_path / MARKER).write_bytes(msgspec.json.encode(Interval("stem", EPOCH, 499, 1)))
    assert [path.parent.name for path in closed_files(tmp_path, plain=False)] == ["done"]


def test_pipes_and_links_are_no_files(tmp_path: Path) -> None:
    """To open such a pipe would wait for ever, and a link would send what it points to."""
    (tmp_path / f"{STAMP}.ndjson.zst").write_bytes(b"half")
    os.mkfifo(tmp_path / "trades-20260102T030405-000000Z-2.csv")
    (tmp_path / "trades-20260102T030405-000000Z-3.csv").symlink_to(tmp_path / f"{STAMP}.ndjson.zst")
    assert names(tmp_path) == [f"{STAMP}.ndjson.zst"]


def test_a_directory_that_is_not_there_yet_has_no_files(tmp_path: Path) -> None:
    assert names(tmp_path / "later") == []


PLACE = 'path = "/data"\nbucket = "market"\n'


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('path = "/data"\nbucket = "a/b"', "bucket"),
        (PLACE + 'endpoint = "https://me:hunter2@minio.example"', "names who logs in"),
        (PLACE + 'endpoint = "minio.example:9000"', 'is no address; write "https://minio.example:9000"'),
        (PLACE + 'endpoint = "https://minio.example/market"', "is no address"),
        (PLACE + 'secret_key = "hunter2"', "must say where the key is, not hold it"),
        (PLACE + 'secret_key = "env:KEY"', "belong together"),
        (PLACE + 'access_key = "env:KEY"', "belong together"),
        (PLACE + 'prefix = "../x/"', "prefix"),
        (PLACE + 'prefix = "market"', "prefix"),
        (PLACE + "every = 0", "every"),
        (PLACE + "queue = 5", "queue"),
    ],
)
def test_what_a_configuration_may_not_say(
    tmp_path: Path, lines: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=words) as said:
        configured(tmp_path, "s3", lines, monkeypatch)
    assert "hunter2" not in str(said.value)


@pytest.mark.parametrize(
    ("type", "merge", "path", "words"),
    [
        ("parquet", "", "/data/x/..", "`merge` of sinks[1] makes new files"),
        ("parquet", "merge = true", "/data", "write `merge = false` in sinks[1]"),
        ("parquet", "merge = false", "/data", None),
        ("parquet", "", "/other", None),
        ("parquet", "merge = false", "/data/type=trade", "lies above the path of sinks[1]"),
        ("csv", "", "/data", None),
        ("csv", "", "/", "lies within the path of sinks[1]"),
        ("files", "", "/data", None),
    ],
)
def test_the_sink_beside_it_must_leave_its_files_as_they_are(
    tmp_path: Path, type: str, merge: str, path: str, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = f'[[sinks]]\ntype = "{type}"\npath = "{path}"\n{merge}\n'
    if words is None:
        configured(tmp_path, "s3", PLACE + beside, monkeypatch)
        return
    with pytest.raises(ConfigError) as said:
        configured(tmp_path, "s3", PLACE + beside, monkeypatch)
    (line,) = str(said.value).splitlines()
    assert "sinks[0].path: " in line
    assert words in line


class Store:
    """The objects of a bucket, and in which threads files were opened meanwhile."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def put_async(self, key: str, given: bytes | AsyncIterator[bytes], **_: Any) -> None:
        parts = [given] if isinstance(given, bytes) else [part async for part in given]
        assert max(map(len, parts)) <= 10
        self.objects[key] = b"".join(parts)

    async def head_async(self, key: str) -> dict[str, Any]:
        if key not in self.objects:
            raise FileNotFoundError(key)
        return {"size": len(self.objects[key]), "e_tag": None}


@pytest.mark.waits
async def test_no_file_is_opened_where_others_would_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = ModuleType("obstore.exceptions")
    library.AlreadyExistsError = FileExistsError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "obstore", ModuleType("obstore"))  # it need not be here
    monkeypatch.setitem(sys.modules, library.__name__, library)
    monkeypatch.setattr(s3, "PART_BYTES", 3)
    monkeypatch.setattr(s3, "WHOLE_BYTES", 10)
    files = {"small-1-0.parquet": b"x" * 10, "large-2-0.parquet": b"abcdefghijklmnop"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    opening, threads = Path.open, set()

    def opened(path: Path, *given: Any, **options: Any) -> Any:
        threads.add(threading.current_thread().name)
        return opening(path, *given, **options)

    monkeypatch.setattr(Path, "open", opened)
    store = Store()
    settings = S3Settings(path=tmp_path, bucket="market", remove=True, every=0.01)
    writer = S3Writer(settings, Context("s3", Bus(EPOCH), lambda: 1, NETWORK), store)
    while any(tmp_path.iterdir()):  # noqa: ASYNC110 - another thread removes them  # noqa: ASYNC240 - likewise
        await asyncio.sleep(0.01)
    await writer.close()
    assert store.objects == files
    assert threads == {"s3"}
