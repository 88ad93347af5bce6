"""The control socket: what is asked there and answered, whoever asks, and however badly."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from aggregator.config.config import Config, ExchangeConfig, default_control
from aggregator.daemon import control
from aggregator.daemon.control import Control
from aggregator.daemon.daemon import Daemon
from aggregator.errors import ConfigError
from aggregator.ingest.host_names import new_loop
from tests.daemon.test_status import many

pytestmark = pytest.mark.waits

PATIENCE_S = 20.0


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("c") / "c.sock"  # short: a socket's path may have 107 bytes


@asynccontextmanager
async def serving(path: Path, topics: int = 3) -> AsyncIterator[Daemon]:
    exchange = ExchangeConfig(id="toy", channels=("trades",), symbols=("*",), endpoints={})
    daemon = Daemon(Config(exchanges=(exchange,), sinks=(), state=path.parent, log_level="info"))
    daemon.exchanges.runners["toy"] = SimpleNamespace(topics=lambda: many(topics), shards=[], pollers=[], words=dict)  # type: ignore[assignment]
    served = Control(path, daemon)
    await served.start()
    try:
        yield daemon
    finally:
        await served.stop()


async def ask(path: Path, *lines: bytes) -> list[dict[str, object]]:
    """Say something, and then no more: every answer."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"".join(lines))
        writer.write_eof()
        answers = [json.loads(line) for line in (await reader.read()).splitlines()]
        writer.close()
        return answers


# --- what is asked ----------------------------------------------------------------------------------------------------


async def test_a_status_is_one_line(path: Path) -> None:
    async with serving(path):
        (answer,) = await ask(path, b'{"op":"status"}\n')
    status = answer["status"]
    assert answer["ok"] is True
    assert isinstance(status, dict)
    assert (status["schema"], status["topics"], status["exchanges"][0]["id"]) == (1, [], "toy")


async def test_topics_are_told_by_pattern_and_no_more_than_asked_for(path: Path) -> None:
    async with serving(path, topics=1000):
        all_, few, none = await ask(
            path,
            b'{"op":"status","topics":["*:*:*"]}\n{"op":"status","topics":["trades:toy:*"],"only":"troubled","most":7}\n',
            b'{"op":"status","topics":["book:*:*"]}\n',
        )
    found = [answer["status"] for answer in (all_, few, none)]
    assert [(len(s["topics"]), s["left_out"]) for s in found] == [(1000, 0), (7, 93), (0, 0)]  # type: ignore[index]
    assert [t["symbol"] for t in found[0]["topics"]] == [f"S{n}" for n in range(1000)]  # type: ignore[index]


async def test_stacks_are_told(path: Path) -> None:
    async with serving(path):
        (answer,) = await ask(path, b'{"op":"stacks"}\n')
    assert any("test_control" in line for line in answer["stacks"])  # type: ignore[attr-defined]


async def test_files_are_rotated(path: Path) -> None:
    async with serving(path) as daemon:
        daemon.exchanges.recorders["toy"] = SimpleNamespace(reopen=lambda _: True, status=None)  # type: ignore[assignment]
        assert await ask(path, b'{"op":"rotate"}\n') == [{"sinks": 0, "captures": 1, "ok": True}]


# --- who asks badly ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"hello\n", "allowed:"),
        (b"[]\n", "allowed:"),
        (b'{"op":"reboot"}\n', "allowed:"),
        (b'{"op":"status","tpoics":[]}\n', "tpoics"),
        (b'{"op":"status","most":"all"}\n', "allowed:"),
        (b'{"op":"status","topics":["nonsense"]}\n', "write channel:exchange:symbol"),
        (b'{"op":"status","topics":["trade:*:*"]}\n', "did you mean trades?"),
        (b"\xff\xfe\n", "allowed:"),
        (b"[" * 10_000 + b"\n", "allowed:"),
        (b'{"op":"status","topics":[' + b",".join([b'"*:*:*"'] * 101) + b"]}\n", "more than 100 patterns"),
        (b"\n", "allowed:"),
        (b'{"op":"status"', "allowed:"),
    ],
)
async def test_what_cannot_be_done_is_said_and_the_next_request_is_heard(path: Path, line: bytes, said: str) -> None:
    async with serving(path):
        answers = await ask(path, line, *([b'{"op":"status"}\n'] if line.endswith(b"\n") else []))
    assert answers[0]["ok"] is False
    assert said in str(answers[0]["error"])
    assert [answer["ok"] for answer in answers[1:]] == [True] * (len(answers) - 1)
    assert len(answers) == 1 + line.endswith(b"\n")


async def test_a_line_without_end_is_hung_up_on(path: Path) -> None:
    async with serving(path):
        answers = await ask(path, b"x" * (3 * control.LONGEST_LINE_BYTES), b'\n{"op":"status"}\n')
        assert [answer["ok"] for answer in answers] == [False]
        assert (await ask(path, b'{"op":"status"}\n'))[0]["ok"] is True


async def test_more_clients_than_there_may_be_are_told_so(path: Path) -> None:
    async with serving(path), asyncio.timeout(PATIENCE_S):
        held = [await asyncio.open_unix_connection(path) for _ in range(control.MOST_CLIENTS)]
        await asyncio.sleep(0.05)
        reader, writer = await asyncio.open_unix_connection(path)
        assert "clients already" in str(json.loads(await reader.readline())["error"])
        assert await reader.read() == b""
        for _, other in [*held, (reader, writer)]:
            other.close()
        await asyncio.sleep(0.05)
        assert (await ask(path, b'{"op":"status"}\n'))[0]["ok"] is True


async def test_whoever_asks_nothing_is_hung_up_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "IDLE_S", 0.05)
    async with serving(path), asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"op":')
        assert await reader.read() == b""
        writer.close()


async def test_whoever_does_not_read_is_hung_up_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "SENDING_S", 0.05)
    async with serving(path, topics=20_000), asyncio.timeout(PATIENCE_S):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.setblocking(False)  # noqa: FBT003 - the standard library's own signature
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, str(path))
            await loop.sock_sendall(sock, b'{"op":"status","topics":["*:*:*"],"most":50000}\n')
            await asyncio.sleep(1.0)
            got = b""
            while part := await _rest(sock):
                got += part
            assert not got.endswith(b"\n")
        assert (await ask(path, b'{"op":"status"}\n'))[0]["ok"] is True


@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, new_loop])
def test_whoever_has_left_is_no_error_of_ours(path: Path, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """For uvloop a write to a connection that is closed is one."""

    async def main() -> None:
        met: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        server = await asyncio.start_unix_server(lambda _, writer: met.put_nowait(writer), path)
        _, client = await asyncio.open_unix_connection(path)
        async with server, asyncio.timeout(PATIENCE_S):
            writer = await met.get()
            client.transport.abort()
            writer.transport.abort()
            await asyncio.sleep(0.05)
            with pytest.raises(OSError):  # noqa: PT011 - any that means: nobody is there
                await control._send(writer, b"x")

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


async def _rest(sock: socket.socket) -> bytes:
    try:
        return await asyncio.get_running_loop().sock_recv(sock, 1 << 20)
    except ConnectionError:
        return b""


# --- the socket's file ------------------------------------------------------------------------------------------------


async def test_the_socket_is_its_owners_alone_and_goes_with_the_daemon(path: Path) -> None:
    async with serving(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_the_socket_of_a_dead_daemon_is_taken_over_and_that_of_a_live_one_is_not(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(path) as daemon:
        assert (await ask(path, b'{"op":"status"}\n'))[0]["ok"] is True
        with pytest.raises(ConfigError, match="control: another daemon listens at"):
            Control(path, daemon)
        assert (await ask(path, b'{"op":"status"}\n'))[0]["ok"] is True


async def test_the_socket_of_another_user_is_left_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    with pytest.raises(ConfigError, match="is another user's"):
        Control(path, SimpleNamespace())  # type: ignore[arg-type]
    assert path.exists()


@pytest.mark.parametrize("is_file", [True, False])
async def test_what_is_no_socket_is_left_alone(path: Path, *, is_file: bool) -> None:
    path.write_text("mine") if is_file else path.mkdir()
    with pytest.raises(ConfigError, match="is no socket"):
        Control(path, SimpleNamespace())  # type: ignore[arg-type]
    assert path.exists()


def test_the_socket_stands_beside_the_state_unless_the_service_has_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    assert default_control(Path("/s")) == Path("/s/control.sock")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/aggregator:/run/other")
    assert default_control(Path("/s")) == Path("/run/aggregator/control.sock")
