"""The `s3` sink against a server of the tests: cut, refused and killed on the way, and each file there once."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import S3Store

from aggregator.bus.bus import Bus
from aggregator.sinks.running import Running, running
from aggregator.sinks.s3 import SINK, WHOLE_BYTES
from aggregator.sinks.values import parse_place
from tests.support.servers import Server, moto

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
FILES = {f"2026-01-02/x/trades-20260102T0{hour}0000Z-{hour}.ndjson.zst": f"hour {hour}".encode() for hour in range(9)}
KILLED = """\
import asyncio, os, sys
from pathlib import Path
from aggregator.bus.bus import Bus
from aggregator.sinks import s3
from aggregator.sinks.running import running
from tests.servers.test_s3 import sink

def die(*_):
    os.kill(os.getpid(), 9)

async def run(endpoint, folder, step):
    match step:
        case "before it is uploaded":
            s3.S3Writer._put = die
        case "before it is looked at":
            s3.S3Writer._check = die
        case "before it is removed":
            Path.unlink = die
        case "after it is removed":
            s3.log.info = die
    given = sink(endpoint, Path(folder))
    await given.start()
    await asyncio.sleep(60)

asyncio.run(run(*sys.argv[1:]))
"""
STEPS = ("before it is uploaded", "before it is looked at", "before it is removed", "after it is removed")


class Front:
    """Stands before the server, and does what a test says with the next requests: `cut`, `lose` the answer, `503`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.does: list[str] = []
        self.requests = 0

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand on one request."""
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._hand_on(reader, writer)
        finally:
            writer.transport.abort()

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        sizes = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        size = int(sizes[0]) if sizes else 0
        does = self.does.pop(0) if self.does else ""
        if does == "cut":
            await reader.readexactly(size // 2)
            return
        body = await reader.readexactly(size)
        if does == "503":
            writer.write(b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        else:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
            far_writer.write(head.replace(b"\r\n", b"\r\nconnection: close\r\n", 1) + body)
            answer = await far_reader.read()
            far_writer.close()
            if does == "lose":
                return
            writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = moto(tmp_path_factory.mktemp("moto"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def endpoint(server: Server) -> str:
    """The server, with an empty bucket."""
    url = f"http://127.0.0.1:{server.port}"
    subprocess.run(["curl", "-sf", "-X", "POST", f"{url}/moto-api/reset"], check=True, capture_output=True)
    subprocess.run(["curl", "-sf", "-X", "PUT", f"{url}/market"], check=True, capture_output=True)
    return url


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.sinks.s3.FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr("aggregator.sinks.s3.LONGEST_BACKOFF_S", 0.05)


def sink(endpoint: str, folder: Path, **settings: Any) -> Running:
    keys = {"access_key": parse_place("plain:name"), "secret_key": parse_place("plain:hunter2")}
    given = {"prefix": "site/", "every": 0.02, "remove": True, **keys, **settings}
    return running(SINK.configured(path=folder, bucket="market", endpoint=endpoint, **given), Bus("e"))


def written(folder: Path, files: dict[str, bytes] = FILES) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def there(endpoint: str) -> dict[str, bytes]:
    store = S3Store(
        "market",
        endpoint=endpoint,
        region="us-east-1",
        access_key_id="a",
        secret_access_key="b",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    names = [each["path"] for some in obstore.list(store) for each in some]
    return {name: bytes(obstore.get(store, name).bytes()) for name in names}


def expected(files: dict[str, bytes] = FILES) -> dict[str, bytes]:
    return {f"site/{name}": content for name, content in files.items()}


def left(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what a look at the disk or at the server tells; a thread looks."""
    async with asyncio.timeout(50):
        while not await asyncio.to_thread(is_so):  # noqa: ASYNC110 - a look at a disk tells nobody
            await asyncio.sleep(0.05)


async def ended(given: Running) -> None:
    given.end()
    assert given.task is not None
    await given.task


@pytest.mark.parametrize("remove", [True, False])
async def test_every_closed_file_is_there_and_goes_where_that_is_wanted(
    endpoint: str, tmp_path: Path, remove: bool
) -> None:
    given = sink(endpoint, tmp_path, remove=remove)
    written(tmp_path)
    (tmp_path / "trades.ndjson").write_bytes(b"it is written to")
    await given.start()
    await until(lambda: there(endpoint) == expected())
    late = {"late-20260102T000000Z-1.ndjson.zst": b"late"}
    written(tmp_path, late)
    await until(lambda: there(endpoint) == expected(FILES | late))
    if remove:
        await until(lambda: left(tmp_path) == ["trades.ndjson"])
    await ended(given)
    assert remove or len(left(tmp_path)) == len(FILES) + 2


@pytest.mark.parametrize("does", ["cut", "lose", "503"])
async def test_what_fails_is_tried_again_and_nothing_is_there_twice(
    server: Server, endpoint: str, tmp_path: Path, does: str, caplog: pytest.LogCaptureFixture
) -> None:
    front = Front(server.port)
    given = sink(await front.start(), tmp_path)
    front.does = [does, does, "", does, "", "", does] * 3
    written(tmp_path)
    await given.start()
    await until(lambda: left(tmp_path) == [])
    await ended(given)
    front.stop()
    assert there(endpoint) == expected()
    assert any("trying again until it works" in record.getMessage() for record in caplog.records)
    assert "hunter2" not in caplog.text


async def test_a_bucket_that_is_missing_is_told_and_waited_for(endpoint: str, tmp_path: Path) -> None:
    given = running(
        SINK.configured(path=tmp_path, bucket="later", endpoint=endpoint, every=0.02, remove=True), Bus("e")
    )
    written(tmp_path)
    await given.start()
    await until(lambda: given.status().failing is not None)
    await ended(given)
    assert len(left(tmp_path)) == len(FILES)


@pytest.mark.parametrize("step", STEPS)
async def test_a_kill_between_any_two_steps_costs_nothing(endpoint: str, tmp_path: Path, step: str) -> None:
    files = dict(list(FILES.items())[:3])
    written(tmp_path, files)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED, endpoint, str(tmp_path), step],
        env=environment,
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -9, killed.stderr.decode()[-1000:]
    for name in set(files) - set(left(tmp_path)):
        assert there(endpoint)[f"site/{name}"] == files[name], "it was removed before it was there"
    given = sink(endpoint, tmp_path)
    await given.start()
    await until(lambda: left(tmp_path) == [])
    await ended(given)
    assert there(endpoint) == expected(files)


async def test_an_object_that_is_another_one_stays_and_so_does_the_file(endpoint: str, tmp_path: Path) -> None:
    """One of the same size, too: its sum is told by the server."""
    (name, content), *_ = FILES.items()
    written(tmp_path / "other", {name: content[::-1]})
    other = sink(endpoint, tmp_path / "other")
    await other.start()
    await until(lambda: left(tmp_path / "other") == [])
    await ended(other)
    written(tmp_path / "mine")
    given = sink(endpoint, tmp_path / "mine")
    await given.start()
    await until(lambda: left(tmp_path / "mine") == [name])
    assert "another object of" in (given.status().failing or "")
    await ended(given)
    assert there(endpoint) == {**expected(), f"site/{name}": content[::-1]}


async def test_what_is_there_after_a_restart_is_not_uploaded_again(
    server: Server, endpoint: str, tmp_path: Path
) -> None:
    async def requests_of_a_life(files: dict[str, bytes]) -> int:
        written(tmp_path, files)
        front = Front(server.port)
        given = sink(await front.start(), tmp_path, remove=False)
        await given.start()
        await until(lambda: there(endpoint) == expected(files))
        await ended(given)
        front.stop()
        return front.requests

    await requests_of_a_life(FILES)
    requests = await requests_of_a_life(FILES | {"late-20260102T000000Z-1.ndjson.zst": b"late"})
    assert 2 <= requests <= 3, "all are listed, and the new one, which is the last, is uploaded and looked at"


async def test_a_large_file_goes_in_parts(endpoint: str, tmp_path: Path) -> None:
    content = os.urandom(WHOLE_BYTES + 5)
    files = {"large-20260102T000000Z-1.ndjson.zst": content}
    written(tmp_path, files)
    given = sink(endpoint, tmp_path)
    await given.start()
    await until(lambda: left(tmp_path) == [])
    await ended(given)
    assert there(endpoint) == expected(files)
