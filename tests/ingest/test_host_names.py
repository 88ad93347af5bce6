"""A name server that does not answer keeps nobody waiting but those who ask for its names."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from picows import WSListener, ws_create_server

from aggregator.errors import SessionError
from aggregator.exchange import Address, Request
from aggregator.ingest import host_names
from aggregator.ingest.host_names import MOST_LOOKUPS, NameLookups, is_numeric, new_loop, with_names
from aggregator.ingest.network import Internet
from aggregator.ingest.proxies import DialOptions, Transport
from aggregator.session.moment import Now

pytestmark = pytest.mark.waits

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": new_loop,
    "asyncio": with_names(asyncio.SelectorEventLoop),
}
PATIENCE = 20.0


class Server:
    """The name server: names that begin with `hang` are told when it is let go, others at once; `none` is none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers = threading.Event()
        self.asked: list[str] = []
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._tell)

    def _tell(self, host: Any, port: Any, *hints: Any, **named: Any) -> Any:
        if not isinstance(host, str) or not host.endswith(".example"):
            return self._real(host, port, *hints, **named)
        if named.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        self.asked.append(host)
        if host.startswith("hang"):
            self.answers.wait(PATIENCE)
        if host.startswith("none"):
            raise socket.gaierror(socket.EAI_NONAME, "there is no such name")
        return self._real("127.0.0.1", port, *hints, **named)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server(monkeypatch)
    yield made
    made.answers.set()


@pytest.fixture(params=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    def runs(main: Coroutine[Any, Any, None]) -> None:
        async def in_time() -> None:
            async with asyncio.timeout(PATIENCE):
                await main

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(in_time())

    return runs


class Ears:
    name = "toy/main.1#1"

    def frames(self, payloads: list[bytes], now: Now) -> None:
        pass

    def gone(self, reason: str) -> None:
        pass


@pytest.mark.parametrize("transport", ["picows", "websockets"])
def test_others_are_dialled_and_asked_while_names_hang(server: Server, run: Any, transport: Transport) -> None:
    async def main() -> None:
        listener = await ws_create_server(lambda _: WSListener(), "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        internet = Internet(route=DialOptions(transport))
        hanging = [
            asyncio.create_task(internet.dial(Address(f"ws://hang{number}.example:{port}/"), Ears()))
            for number in range(20)
        ] + [
            asyncio.create_task(internet.fetch(Request(f"http://hang{number}.example:{port}/"))) for number in range(20)
        ]
        async with listener:
            while len(server.asked) < 20:  # noqa: ASYNC110 - threads ask
                await asyncio.sleep(0.01)
            line = await internet.dial(Address(f"ws://good.example:{port}/"), Ears())
            assert (await internet.fetch(Request(f"http://good.example:{port}/"))).status >= 200
            line.hang_up("enough")
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        await internet.close()

    run(main())


@pytest.mark.parametrize("transport", ["picows", "websockets"])
def test_a_name_that_is_not_told_in_time_is_said(
    server: Server, run: Any, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_names, "LOOKUP_S", 0.1)

    async def main() -> None:
        internet = Internet(route=DialOptions(transport))
        said = "no name server has told the address of hang.example within 0.1 s"
        with pytest.raises(SessionError, match=said):
            await internet.dial(Address("ws://hang.example:9/"), Ears())
        with pytest.raises(SessionError, match=said):
            await internet.fetch(Request("http://hang.example:9/"))
        with pytest.raises(SessionError, match="there is no such name"):
            await internet.dial(Address("ws://none.example:9/"), Ears())
        with pytest.raises(SessionError):
            await internet.dial(Address("ws://" + "a" * 70 + ".example:9/"), Ears())  # no label is so long
        await internet.close()

    run(main())


def test_a_name_is_asked_for_once_by_all_who_want_it_meanwhile(server: Server, run: Any) -> None:
    async def main() -> None:
        asked = NameLookups()
        waiting = [asyncio.create_task(asked.look_up("hang.example", 1, type=socket.SOCK_STREAM)) for _ in range(50)]
        await asyncio.sleep(0.05)
        waiting[0].cancel()  # it takes nothing from the others
        await asyncio.sleep(0)
        server.answers.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert {answer[0][4][0] for answer in found[1:]} == {"127.0.0.1"}  # type: ignore[index]
        assert server.asked == ["hang.example"]
        await asked.look_up("good.example", 1)
        await asked.look_up("good.example", 1)
        assert server.asked[1:] == ["good.example"] * 2, "nothing is kept: the system does that"

    run(main())


def test_no_more_threads_than_a_bound_wait_for_names(server: Server, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_names, "MOST_LOOKUPS", 3)

    async def main() -> None:
        asked = NameLookups()
        waiting = [asyncio.create_task(asked.look_up(f"hang{number}.example", 1)) for number in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(OSError, match="3 names are looked up already"):
            await asked.look_up("good.example", 1)
        server.answers.set()
        await asyncio.gather(*waiting)
        assert await asked.look_up("good.example", 1)

    assert MOST_LOOKUPS > 3
    run(main())


def test_a_loop_ends_while_names_hang(server: Server, run: Any) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(asyncio.open_connection(f"hang{number}.example", 9)) for number in range(10)]
        await asyncio.wait(tasks, timeout=0.1)

    run(main())
    assert not server.answers.is_set()  # it has ended, and no name server has answered yet


def test_a_certificate_is_held_against_the_name_and_not_the_address(server: Server, run: Any) -> None:
    """The connection is opened to an address, and TLS still asks for the name."""

    async def main() -> None:
        seen: list[str | None] = []

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            hello = await reader.read(2000)
            seen.append("good.example" if b"good.example" in hello else None)
            writer.close()

        listener = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises((OSError, ssl.SSLError)):
            await asyncio.open_connection("good.example", port, ssl=ssl.create_default_context())
        assert seen == ["good.example"]
        listener.close()

    run(main())


@pytest.mark.parametrize(
    ("host", "is_one"),
    [("127.0.0.1", True), ("::1", True), (None, True), ("a.example", False), ("localhost", False), (b"x", False)],
)
def test_an_address_needs_no_server(host: object, is_one: bool) -> None:
    assert is_numeric(host) is is_one
