import asyncio
import json
import re
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from msgspec.structs import replace

from aggregator import book
from aggregator.bus.bus import Bus
from aggregator.client import CutOff, Feed, FeedError, connect, conversation, sync, wire
from aggregator.feed.address import TcpAddress, UnixAddress
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Lag, Record, Trade
from tests.support.views import Fixed

pytestmark = pytest.mark.waits

PATIENCE = 10.0  # seconds; nothing here takes nearly as long


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feed.sock"


@asynccontextmanager
async def serving(path: Path, *, ring: int = 10_000, max_clients: int = 10) -> AsyncIterator[Bus]:
    bus = Bus("epoch")
    server = FeedServer(FeedSettings(listen=(UnixAddress(path),), ring=ring, max_clients=max_clients), bus)
    await server.start()
    bus.attach(server.publish)
    try:
        yield bus
    finally:
        await server.stop(0.2)


async def test_over_tcp_as_over_the_socket() -> None:
    bus = Bus("epoch")
    server = FeedServer(FeedSettings(listen=(TcpAddress("127.0.0.1", 0),)), bus)
    await server.start()
    bus.attach(server.publish)
    (address,) = server.addresses
    async with connect(address) as feed:
        await feed.subscribe("trades:*:*")
        bus.publish([trade()])
        assert [record.offset for record in await take(feed, 1)] == [1]
    await server.stop(0)
    with pytest.raises(FeedError, match=f"cannot connect to {address}: .*refused"):
        async with connect(address):
            pass
    with pytest.raises(FeedError, match="is not a host and a port; write"):
        async with connect("tcp:8790"):
            pass


@asynccontextmanager
async def speaking(path: Path, *said: bytes) -> AsyncIterator[None]:
    """Something that is no feed: it says what it is told to, and hangs up."""

    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(said))
        writer.close()

    server = await asyncio.start_unix_server(speak, path)
    try:
        yield
    finally:
        server.close()


def trade(price: str = "1.50") -> Trade:
    return Trade(exchange="alpha", symbol="BTC/USDT", raw_symbol="BTCUSDT", ts_recv=1, price=price, size="1")


async def take(feed: Feed, count: int) -> list[Record]:
    found: list[Record] = []
    async with asyncio.timeout(PATIENCE):
        async for record in feed:
            found.append(record)
            if len(found) == count:
                break
    return found


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_records_as_structs(run: Callable[[Awaitable[None]], None], path: Path) -> None:
    async def scenario() -> None:
        async with serving(path) as bus, connect(path) as feed:
            assert (feed.hello.schema, feed.hello.epoch, feed.hello.offset) == (1, "epoch", 0)
            subscribed = await feed.subscribe("trades:*:BTC/USDT", "book:*:*")
            assert (subscribed.topics, subscribed.matched) == (["trades:*:BTC/USDT", "book:*:*"], 0)
            book = BookSnapshot(exchange="alpha", symbol=None, raw_symbol="X", bids=[("1", "2")], asks=[])
            records = [trade(), book, trade("2")]
            bus.publish(records)
            assert await take(feed, 3) == records
            assert await feed.topics() == ["book:alpha:X", "trades:alpha:BTC/USDT"]

    run(scenario())


async def test_lines_as_they_are(path: Path) -> None:
    async with serving(path) as bus, connect(str(path)) as feed:
        await feed.subscribe("trades:*:*", numbers="float", time="ms")
        bus.publish([trade()])
        line = await anext(feed.lines())
        assert line.endswith(b"}\n")
        assert json.loads(line)["price"] == 1.5
        bus.publish([trade()])
        with pytest.raises(FeedError, match=r"use lines\(\)"):
            await take(feed, 1)


async def test_what_comes_before_an_answer_is_kept(path: Path) -> None:
    async with serving(path) as bus, connect(path) as feed:
        await feed.subscribe("trades:*:*")
        bus.publish([trade("1"), trade("2")])
        await feed.ping()
        assert (await feed.unsubscribe("trades:*:*")).topics == ["trades:*:*"]
        bus.publish([trade("3")])
        await feed.subscribe("trades:alpha:*")
        bus.publish([trade("4")])
        assert [record.offset for record in await take(feed, 3)] == [1, 2, 4]


async def test_one_task_reads_while_another_asks(path: Path) -> None:
    async with serving(path) as bus, connect(path) as feed:
        reading = asyncio.ensure_future(take(feed, 2))
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(feed.ping() for _ in range(5)), feed.subscribe("trades:*:*"))
            bus.publish([trade()])
            await feed.unsubscribe()
            await feed.subscribe("trades:*:*")
            bus.publish([trade()])
            assert [record.offset for record in await reading] == [1, 2]


async def test_a_wait_that_is_given_up_loses_nothing(path: Path) -> None:
    async with serving(path) as bus, connect(path) as feed:
        await feed.subscribe("trades:*:*")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await anext(feed.lines())
        bus.publish([trade()])
        assert (await take(feed, 1))[0].offset == 1


async def test_a_slow_reader_is_told_by_a_lag(path: Path) -> None:
    total = 30_000
    async with serving(path, ring=100) as bus, connect(path) as feed:
        await feed.subscribe("trades:*:*")
        for _ in range(total // 100):
            bus.publish([trade() for _ in range(100)])
            await asyncio.sleep(0)
        had, missed = 0, 0
        async with asyncio.timeout(PATIENCE):
            async for record in feed:
                missed += record.missed if isinstance(record, Lag) else 0
                had += not isinstance(record, Lag)
                if record.offset == total:
                    break
        assert missed > 0
        assert had + missed == total


@pytest.mark.parametrize("topics", [(), ("trade:*:*",), ("trades",)])
async def test_a_refusal_is_raised_and_the_feed_goes_on(topics: tuple[str, ...], path: Path) -> None:
    async with serving(path), connect(path) as feed:
        with pytest.raises(FeedError, match=r"did you mean trades|like trades"):
            await feed.subscribe(*topics)
        with pytest.raises(FeedError, match="was not subscribed"):
            await feed.unsubscribe("trades:*:*")
        await feed.ping()


async def test_the_end_of_the_daemon_ends_the_stream(path: Path) -> None:
    async with serving(path) as bus, connect(path) as feed:
        await feed.subscribe("trades:*:*")
        bus.publish([trade()])
        records: list[Record] = []

        async def read() -> None:
            records.extend([record async for record in feed])

        reading = asyncio.ensure_future(read())
        await feed.ping()
        await asyncio.sleep(0)
        stopping = asyncio.ensure_future(_stop_all(bus))
        await asyncio.wait_for(reading, PATIENCE)
        await stopping
        assert [record.offset for record in records] == [1]
        assert feed.goodbye == "the daemon ends"
        with pytest.raises(FeedError, match="has hung up: the daemon ends"):
            await feed.ping()


async def _stop_all(bus: Bus) -> None:
    for receive in bus._receivers:
        await receive.__self__.stop(1.0)  # type: ignore[attr-defined]


async def test_no_daemon(path: Path) -> None:
    with pytest.raises(FeedError, match=r"feed.sock is not there: does the daemon run"):
        async with connect(path):
            pass
    path.write_text("")
    with pytest.raises(FeedError, match=r"cannot connect to .*feed.sock: "):
        async with connect(path):
            pass


@pytest.mark.parametrize("said", [b"", b"220 mail ready\r\n", b'{"type":"hello"}\n', b'{"type":"hel'])
async def test_what_is_no_feed(said: bytes, path: Path) -> None:
    async with speaking(path, said):
        with pytest.raises(FeedError, match="does not speak as the feed does"):
            async with connect(path):
                pass


async def test_what_says_nothing_is_no_feed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "GREETING_S", 0.05)

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_unix_server(listen, path)
    with pytest.raises(FeedError, match=r"has not said a word|does not answer"):
        async with connect(path):
            pass
    silent.close()
    await asyncio.sleep(0.01)  # it hears that the client has left


async def test_a_full_feed_says_so(path: Path) -> None:
    async with serving(path, max_clients=1), connect(path):
        with pytest.raises(FeedError, match="has its 1 subscribers already"):
            async with connect(path):
                pass


async def test_a_line_that_was_cut_off_is_no_record(path: Path) -> None:
    hello = b'{"type":"hello","schema":1,"epoch":"e","offset":0,"version":"0"}\n'
    async with speaking(path, hello, b'{"type":"new_kind","offset":1}\n', b'{"type":"tra'), connect(path) as feed:
        lines = feed.lines()
        assert await anext(lines) == b'{"type":"new_kind","offset":1}\n'
        with pytest.raises(CutOff, match="had not said goodbye"):
            await anext(lines)
        assert feed.goodbye is None


# --- every address, and both clients

BOOK = BookSnapshot(exchange="alpha", symbol="BTC/USD", raw_symbol="XBTUSD", bids=[("1", "2")], asks=[("3", "4")])
LIVE = Health(exchange="alpha", symbol="BTC/USD", raw_symbol="XBTUSD", channel="book", state="live", age_ms=12)
EVERYWHERE = ["unix:{path}", "{path}", "tcp:127.0.0.1:{tcp}", "http:127.0.0.1:{http}", "ws://127.0.0.1:{http}/feed"]
BY_NAME = "http://localhost:{http}"


@asynccontextmanager
async def everywhere(path: Path, *, ring: int = 10_000) -> AsyncIterator[tuple[Bus, FeedServer, dict[str, str]]]:
    """A feed at every kind of address, with one book; and what the places of the addresses are."""
    bus = Bus("epoch")
    bus.views.add("alpha", Fixed([BOOK], [LIVE]))
    listen = (UnixAddress(path), TcpAddress("127.0.0.1", 0), TcpAddress("127.0.0.1", 0, "http"))
    server = FeedServer(FeedSettings(listen=listen, ring=ring), bus)
    await server.start()
    bus.attach(server.publish)
    _, tcp, http = (address.rpartition(":")[2] for address in server.addresses)
    try:
        yield bus, server, {"path": str(path), "tcp": tcp, "http": http}
    finally:
        await server.stop(0.2)


@pytest.mark.parametrize("address", [*EVERYWHERE, BY_NAME])
async def test_the_same_conversation_at_every_address(address: str, path: Path) -> None:
    async with everywhere(path) as (bus, server, places), connect(address.format(**places)) as feed:
        await feed.subscribe("trades:*:*")
        bus.publish([trade() for _ in range(1000)])
        assert [record.offset for record in await take(feed, 1000)] == [*range(1, 1001)]
        assert await feed.topics(["book:*:*"]) == ["book:alpha:BTC/USD"]
        (standing,) = (await feed.topics(["book:*:*"], states=True)).values()
        assert standing is not None
        assert (standing.state, standing.age_ms) == ("live", 12)
        assert (await feed.snapshot("alpha", "XBTUSD")).bids == [("1", "2")]
        with pytest.raises(FeedError, match="beta"):
            await feed.snapshot("beta", "XBTUSD")
        stopping = asyncio.ensure_future(server.stop(1))
        async with asyncio.timeout(PATIENCE):
            assert [record async for record in feed] == []
        assert feed.goodbye == "the daemon ends"
        await stopping


@pytest.mark.parametrize("address", [*EVERYWHERE, BY_NAME])
async def test_the_same_conversation_without_asyncio(address: str, path: Path) -> None:
    subscribed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def converse(address: str) -> tuple[list[int], str | None]:
        with sync.connect(address) as feed:
            assert feed.hello.epoch == "epoch"
            feed.ping()
            assert feed.topics() == ["book:alpha:BTC/USD"]
            (standing,) = feed.topics(["book:*:*"], states=True).values()
            assert standing is not None
            assert standing.state == "live"
            assert feed.snapshot("alpha", "BTC/USD").asks == [("3", "4")]
            with pytest.raises(FeedError, match="did you mean trades"):
                feed.subscribe("trade:*:*")
            feed.subscribe("trades:*:*")
            loop.call_soon_threadsafe(subscribed.set)
            return [record.offset for record in feed], feed.goodbye

    async with asyncio.timeout(PATIENCE), everywhere(path) as (bus, server, places):
        talking = asyncio.ensure_future(asyncio.to_thread(converse, address.format(**places)))
        await asyncio.wait((talking, asyncio.ensure_future(subscribed.wait())), return_when=asyncio.FIRST_COMPLETED)
        bus.publish([trade() for _ in range(1000)])
        await asyncio.sleep(0)
        await server.stop(PATIENCE)
        assert await talking == ([*range(1, 1001)], "the daemon ends")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ws://127.0.0.1:{http}/topics", "answers with HTTP 200"),
        ("ws://127.0.0.1:{http}/nowhere", "answers with HTTP 404: .*nothing is at"),
        ("ws://127.0.0.1:{tcp}/feed", "does not speak as the feed does"),
        ("ws:///feed", "names no host"),
        ("ws://127.0.0.1:port", "[Pp]ort"),
        ("wss://127.0.0.1:{http}/feed", "does not speak TLS: leave that out"),
    ],
)
async def test_an_address_where_no_feed_is(address: str, said: str, path: Path) -> None:
    async with everywhere(path) as (_, _, places):
        with pytest.raises(FeedError, match=said):
            async with connect(address.format(**places)):
                pass

        def converse() -> None:
            with pytest.raises(FeedError, match=said), sync.connect(address.format(**places)):
                pass

        await asyncio.to_thread(converse)


async def test_records_that_nobody_takes_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "MOST_WAITING_BYTES", 10_000)
    async with serving(path) as bus, connect(path) as feed:
        await feed.subscribe("trades:*:*")

        async def only_ask() -> None:
            while True:
                bus.publish([trade() for _ in range(10)])
                await feed.ping()

        with pytest.raises(FeedError, match="wait to be read"):
            await asyncio.wait_for(only_ask(), PATIENCE)
        taken = feed.lines()
        while json.loads(await anext(taken))["offset"] < bus.header().offset:
            pass
        await feed.ping()


async def slow_reader(
    places: dict[str, str], address: str, publish: Callable[[], Awaitable[None]]
) -> tuple[int, int, int]:
    """The bytes that a client holds while it does not read, and then: records that came, and those that did not."""
    async with connect(address.format(**places)) as feed:
        await feed.subscribe("trades:*:*")
        await publish()
        await take(feed, 1)
        await asyncio.sleep(0.1)
        held = feed._talk._waiting_bytes + len(feed._connection._reader._buffer)  # type: ignore[attr-defined]
        came, lost = 1, 0
        async with asyncio.timeout(PATIENCE):
            async for record in feed:
                came += isinstance(record, Trade)
                lost += record.missed if isinstance(record, Lag) else 0
                if record.offset == LAST:
                    break
    return held, came, lost


LAST = 60_000  # records that are published, of 200 bytes and more


@pytest.mark.parametrize("address", ["unix:{path}", "tcp:127.0.0.1:{tcp}", "http:127.0.0.1:{http}"])
async def test_a_slow_reader_holds_little_and_is_told_what_it_lost(address: str, path: Path) -> None:
    async with everywhere(path, ring=1000) as (bus, _, places):
        tracemalloc.start()
        try:

            async def publish() -> None:
                for _ in range(LAST // 100):
                    bus.publish([trade() for _ in range(100)])
                    await asyncio.sleep(0)

            held, came, lost = await slow_reader(places, address, publish)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert held <= 4 * wire.READ_BYTES
    assert peak < 12 * 2**20  # of feed, ring and client, where 12 MB and more were published
    assert lost > 0
    assert came + lost == LAST


def test_the_client_needs_nothing_of_the_daemon() -> None:
    """In a fresh interpreter it loads the standard library, msgspec, and these of our own."""
    code = """if True:
        import sys
        before = set(sys.modules)
        import aggregator.client.sync
        print("asyncio" in sys.modules, *sorted(set(sys.modules) - before))
        from aggregator.client import connect
        print("asyncio" in sys.modules, *sorted(set(sys.modules) - before))
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, both = (line.split() for line in run.stdout.splitlines())
    assert (first[0], both[0]) == ("False", "True")
    assert "ssl" not in first  # who speaks no TLS does not wait for it
    foreign = {name.partition(".")[0] for name in both[1:]} - sys.stdlib_module_names
    assert foreign - {"typing_extensions"} == {"aggregator", "msgspec"}  # the former is msgspec's, where it is there
    ours = {name for name in both[1:] if name.startswith("aggregator.")}
    assert ours == {
        "aggregator.book",
        "aggregator.bus",
        "aggregator.bus.history",
        "aggregator.bus.selection",
        "aggregator.client",
        "aggregator.client.books",
        "aggregator.client.chains",
        "aggregator.client.connection",
        "aggregator.client.conversation",
        "aggregator.client.errors",
        "aggregator.client.feed",
        "aggregator.client.options",
        "aggregator.client.pauses",
        "aggregator.client.security",
        "aggregator.client.sync",
        "aggregator.client.wire",
        "aggregator.errors",
        "aggregator.feed",
        "aggregator.feed.address",
        "aggregator.feed.protocol",
        "aggregator.records",
    }


@pytest.mark.parametrize("address", ["unix:{path}", "tcp:127.0.0.1:{tcp}"])
async def test_it_works_where_nothing_but_msgspec_is_installed(address: str, path: Path) -> None:
    code = """if True:
        import sys
        class Bare:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] not in sys.stdlib_module_names | {"aggregator", "msgspec"}:
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Bare())
        import asyncio
        from aggregator.client import FeedError, connect, sync
        with sync.connect(sys.argv[1], reconnect=True) as feed:
            print(feed.subscribe("book:*:*").matched, feed.snapshot("alpha", "BTC/USD").bids)
        async def main():
            async with connect(sys.argv[1]) as feed:
                print(await feed.topics())
            try:
                async with connect("ws://127.0.0.1:1"):
                    pass
            except FeedError as error:
                print(error)
        asyncio.run(main())
    """
    async with everywhere(path) as (_, _, places):
        command = (sys.executable, "-c", code, address.format(**places))
        run = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        out, _ = await run.communicate()
    assert out.decode().splitlines() == [
        "1 [('1', '2')]",
        "['book:alpha:BTC/USD']",
        "ws://127.0.0.1:1: a WebSocket needs a package: pip install websockets",
    ]


# --- the example of docs/python.md


async def test_the_example_of_the_page_follows_a_book(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "OrderBook", vars(book).get("OrderBook", vars(book).get("Book")), raising=False)
    page = Path(__file__).parents[1] / "docs/python.md"
    code = re.search(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert code
    example: dict[str, Any] = {}
    exec(compile(code[1], "docs/python.md", "exec"), example)  # noqa: S102 - our own page
    known = {"exchange": "alpha", "symbol": "BTC/USDT", "raw_symbol": "BTCUSDT", "ts_recv": 1}
    delta = BookDelta(**known, bids=[("100", "0"), ("99", "1")], asks=[])  # type: ignore[arg-type]
    gap = Gap(**known, gap_id="1", phase="open", channel="book", cause="sequence", ts_from=1)  # type: ignore[arg-type]
    whole = BookSnapshot(**known, bids=[("100", "2")], asks=[("101", "4.0")])  # type: ignore[arg-type]
    found: list[tuple[str, str, str]] = []
    async with asyncio.timeout(PATIENCE), serving(path) as bus:
        prices = example["best_prices"](str(path), "book:*:BTC/USDT")
        coming = asyncio.ensure_future(anext(prices))
        while not coming.done():
            bus.publish([replace(whole)])
            await asyncio.sleep(0.01)
        found.append(coming.result())
        bus.publish([delta, gap, replace(delta)])
        found.append(await anext(prices))
        bus.publish([whole])
        while found[-1][1] != "100":
            found.append(await anext(prices))
        await prices.aclose()
    assert set(found) == {("alpha", "100", "101"), ("alpha", "99", "101")}
