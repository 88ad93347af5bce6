"""Tokens: how they are made and found, what each allows on every transport, and what follows a wrong one."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from aggregator.bus.bus import Bus
from aggregator.bus.selection import parse_pattern
from aggregator.cli.token import command
from aggregator.errors import ConfigError
from aggregator.feed import access as access_module
from aggregator.feed import hub as hub_module
from aggregator.feed.access import HASH, Access, Gate, Token, hash_of, new_token, origin_of
from aggregator.feed.address import UnixAddress, parse_address
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.feed.sink import _tokens, _with_hash
from aggregator.records import BookSnapshot, Instrument
from tests.feed.test_feed import PATIENCE, TRANSPORTS, Peer, Spot, peer, trade
from tests.support.views import Fixed

pytestmark = pytest.mark.waits

TOKENS = ("a" * 43, "b" * 43)
KNOWN = (
    Token("desk", hash_of(TOKENS[0])),
    Token("narrow", hash_of(TOKENS[1]), ("trades:alpha:*/USDT", "book:alpha:BTC/USD", "instruments:alpha:BTC/USD")),
)
BOOKS = [
    BookSnapshot(exchange="alpha", symbol=symbol, raw_symbol=symbol, bids=[("1", "2")], asks=[("3", "4")])
    for symbol in ("BTC/USD", "ETH/USD")
]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "FIRST_PAUSE_S", 0.05)


@asynccontextmanager
async def serving(spot: Spot, **settings: Any) -> AsyncIterator[tuple[Bus, FeedServer]]:
    bus = Bus("epoch")
    bus.views.add("alpha", Fixed(BOOKS, []))
    server = FeedServer(FeedSettings(listen=(spot.address,), tokens=KNOWN, **settings), bus)
    await server.start()
    spot.address = parse_address(server.addresses[0])
    bus.attach(server.publish)
    bus.publish([trade(), trade("ETH/BTC"), *BOOKS])
    try:
        yield bus, server
    finally:
        bus.detach(server.publish)
        await server.stop(0)


@pytest.fixture(params=[name for name in TRANSPORTS if name != "unix"])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Spot:
    return Spot(request.param, tmp_path)


async def enter(client: Peer, token: str) -> None:
    client.say({"op": "auth", "token": token, "id": 1})
    assert [(await client.row())["type"] for _ in range(2)] == ["hello", "authenticated"]


# --- what a token allows


@pytest.mark.parametrize(
    ("allowed", "asked", "is_covered"),
    [
        (["*:*:*"], "trades:*:*", True),
        (["trades:*:*"], "*:*:*", False),
        (["trades:*:*", "book:*:*"], "trades:alpha:BTC*", True),
        (["trades:alpha:*/USDT"], "trades:alpha:BTC/USDT", True),
        (["trades:alpha:*/USDT"], "trades:alpha:B*/USDT", True),
        (["trades:alpha:*/USDT"], "trades:alpha:*", False),
        (["trades:alpha:*/USDT"], "trades:a*:BTC/USDT", False),
        (["trades:a*:*"], "trades:al*a:*", True),
        (["trades:a*b:*"], "trades:a*:*", False),
        (["trades:alpha:*"], "gap:alpha:*", False),
        (["t*:alpha:*"], "trades:alpha:*", True),
        (["trades:alpha:A*B*C"], "trades:alpha:A*C", False),
        (["trades:alpha:A*C"], "trades:alpha:A*B*C", True),
    ],
)
def test_whether_a_token_covers_a_pattern(allowed: list[str], asked: str, is_covered: bool) -> None:
    assert Access("one", allowed).covers(parse_pattern(asked)) is is_covered


async def test_a_narrow_token_gets_its_topics_and_no_others(port: Spot) -> None:
    async with serving(port) as (bus, _), peer(port) as client:
        await enter(client, TOKENS[1])
        for pattern in ("*:*:*", "trades:*:*", "book:alpha:*", "book:alpha:ETH/USD", "health:alpha:*"):
            said = await client.ask({"op": "subscribe", "topics": ["trades:alpha:BTC/USDT", pattern], "id": 2})
            assert said["error"].startswith(f"'{pattern}' is not among the topics of the token narrow: trades:alpha:")
        assert (await client.ask({"op": "topics"}))["topics"] == ["book:alpha:BTC/USD", "trades:alpha:BTC/USDT"]
        assert (
            "'book:alpha:*' is not among" in (await client.ask({"op": "topics", "topics": ["book:alpha:*"]}))["error"]
        )
        snapshot = {"op": "snapshot", "exchange": "alpha", "symbol": "BTC/USD"}
        assert (await client.ask(snapshot))["type"] == "snapshot"
        assert (await client.row())["bids"] == [["1", "2"]]
        for symbol in ("ETH/USD", "*", "NONE"):
            assert f"'book:alpha:{symbol}' is not among" in (await client.ask({**snapshot, "symbol": symbol}))["error"]
        assert (await client.ask("trades:alpha:*/USDT"))["matched"] == 1
        bus.publish([trade("ETH/BTC"), BOOKS[1], trade()])
        assert (await client.row())["symbol"] == "BTC/USDT"


async def test_a_token_without_topics_allows_everything(port: Spot) -> None:
    async with serving(port), peer(port) as client:
        await enter(client, TOKENS[0])
        assert (await client.ask("*:*:*"))["matched"] == 4


async def test_single_questions_give_what_the_token_allows(tmp_path: Path) -> None:
    spot = Spot("http", tmp_path)
    async with serving(spot) as (bus, server):
        for name in ("BTC/USD", "ETH/USD"):
            bus.instruments["alpha", name] = Instrument(exchange="alpha", symbol=name, raw_symbol=name)
            bus.publish([bus.instruments["alpha", name]])
        base = server.addresses[0].replace("http:", "http://")
        headers = {"Authorization": f"Bearer {TOKENS[1]}"}
        async with aiohttp.ClientSession(base, headers=headers, timeout=aiohttp.ClientTimeout(PATIENCE)) as session:

            async def ask(path: str) -> tuple[int, str]:
                async with session.get(path) as response:
                    return response.status, await response.text()

            assert json.loads((await ask("/topics"))[1])["topics"] == [
                "book:alpha:BTC/USD", "instruments:alpha:BTC/USD", "trades:alpha:BTC/USDT"
            ]  # fmt: skip
            status, text = await ask("/instruments")
            assert (status, [json.loads(line)["symbol"] for line in text.splitlines()]) == (200, ["BTC/USD"])
            assert (await ask("/book?exchange=alpha&symbol=BTC/USD"))[0] == 200
            for path, topic in (
                ("/topics?topic=trades:*:*", "trades:*:*"),
                ("/instruments?symbol=ETH/USD", "instruments:*:ETH/USD"),
                ("/book?exchange=alpha&symbol=ETH/USD", "book:alpha:ETH/USD"),
                ("/events?topic=book:*:*", "book:*:*"),
            ):
                status, text = await ask(path)
                assert status >= 400
                assert f"'{topic}' is not among the topics of the token narrow" in json.loads(text)["error"]


# --- who shows none, or a wrong one


async def said_until_the_end(client: Peer) -> list[dict[str, Any]]:
    rows = []
    while line := await client.line():
        rows.append(json.loads(line))
    return rows


async def test_without_a_token_nothing_is_said_and_nothing_done(port: Spot) -> None:
    async with serving(port) as (_, server):
        for line in ("trades:*:*", {"op": "ping"}, {"op": "hello"}, "{", ""):
            async with peer(port) as client:
                client.say(line)
                error, bye = await said_until_the_end(client)
                assert error["error"].startswith('a token is needed first: the first message is {"op":"auth"')
                assert bye["type"] == "bye"
        assert server.status().subscribers == []


async def test_who_shows_no_token_is_hung_up_on(port: Spot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "AUTHENTICATE_S", 0.1)
    async with serving(port) as (_, server), peer(port) as client:
        error, bye = await said_until_the_end(client)
        assert error["error"].startswith("no token came within 0 s")
        assert bye["type"] == "bye"
        assert server.status().subscribers == []


async def test_a_wrong_token_is_answered_after_a_pause_that_grows(port: Spot) -> None:
    async with serving(port) as (bus, _):
        loop = asyncio.get_running_loop()
        for pause in (0.05, 0.1, 0.2):
            began = loop.time()
            async with peer(port) as client:
                client.say({"op": "auth", "token": "wrong", "id": 7}, "*:*:*", {"op": "auth", "token": TOKENS[0]})
                bus.publish([trade()])
                rows = await said_until_the_end(client)
            assert [(row["type"], row.get("id")) for row in rows] == [("error", 7), ("bye", None)]
            assert rows[0]["error"] == "the token is wrong"
            assert loop.time() >= began + pause
        async with peer(port) as client:
            await enter(client, TOKENS[0])  # the right one need not wait


async def test_http_without_the_right_token(tmp_path: Path) -> None:
    spot = Spot("http", tmp_path)
    async with (
        serving(spot) as (_, server),
        aiohttp.ClientSession(server.addresses[0].replace(":", "://", 1)) as session,
    ):
        for path in ("/topics", "/events?topic=*:*:*", "/instruments", "/book?exchange=alpha&symbol=BTC/USD", "/none"):
            async with session.get(path) as response:
                assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
            async with session.get(path, headers={"Authorization": "Bearer wrong"}) as response:
                assert (response.status, (await response.json())["error"]) == (401, "the token is wrong")
        async with session.get(f"/topics?token={TOKENS[0]}") as response:
            assert response.status == 400
            assert "never stands in an address" in (await response.json())["error"]
        async with session.ws_connect("/feed", headers={"Authorization": f"Bearer {TOKENS[1]}"}) as socket:
            assert (await socket.receive_json())["type"] == "hello"
            await socket.send_str("book:*:*")
            assert "not among the topics of the token narrow" in (await socket.receive_json())["error"]


async def test_a_unix_socket_needs_no_token_and_takes_one(tmp_path: Path) -> None:
    spot = Spot("unix", tmp_path)
    async with serving(spot):
        async with peer(spot) as client:
            await client.row()
            assert (await client.ask("*:*:*"))["matched"] == 4
        async with peer(spot) as client:
            await client.row()
            said = await client.ask({"op": "auth", "token": TOKENS[1]})
            assert (said["type"], said["name"], said["topics"]) == (
                "authenticated",
                "narrow",
                list(KNOWN[1].topics or ()),
            )
            assert "not among" in (await client.ask("*:*:*"))["error"]


async def test_a_feed_without_tokens_says_so(tmp_path: Path) -> None:
    spot = Spot("unix", tmp_path)
    server = FeedServer(FeedSettings(listen=(UnixAddress(tmp_path / "feed.sock"),)), Bus("epoch"))
    await server.start()
    async with peer(spot) as client:
        await client.row()
        assert "has no tokens" in (await client.ask({"op": "auth", "token": "x"}))["error"]
    await server.stop(0)


def test_pauses_grow_have_an_end_and_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "FIRST_PAUSE_S", 0.5)
    monkeypatch.setattr(access_module, "MOST_PAUSES", 3)
    gate = Gate(KNOWN)
    assert [gate.pause("10.0.0.1", 0) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert gate.pause("10.0.0.2", 0) == 0.5
    assert gate.pause("10.0.0.1", 601) == 0.5
    for number in range(100):
        gate.pause(f"10.0.1.{number}", 602)
    assert len(gate._wrong) == 3


def test_addresses_of_one_client_are_one() -> None:
    assert origin_of("2001:db8:1:2:3:4:5:6") == origin_of("2001:db8:1:2::9") != origin_of("2001:db8:1:3::9")
    assert origin_of("::ffff:10.0.0.1") == origin_of("10.0.0.1") == "10.0.0.1"
    assert origin_of("fe80::1%eth0") == "fe80::"


# --- where they come from


def test_the_command_prints_what_the_configuration_takes() -> None:
    done = CliRunner().invoke(command, ["desk", "trades:*:*", 'book:a:"x'])
    assert done.exit_code == 0
    import tomllib

    (table,) = tomllib.loads(done.stdout)["feed"]["tokens"]
    (token,) = _tokens([table])
    shown = done.stderr.rpartition(": ")[2].strip()
    assert (token.name, token.hash, token.topics) == ("desk", hash_of(shown), ("trades:*:*", 'book:a:"x'))
    assert shown not in done.stdout
    found = Gate((token,)).find(shown)
    assert found is not None
    assert found.name == "desk"
    assert Gate((token,)).find(shown[:-1]) is None
    assert Gate((token,)).find(shown + "x" * 1000) is None
    assert len({new_token() for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"hash": "sha256:" + "0" * 64}, "each has a name"),
        ({"name": "a b", "hash": "sha256:" + "0" * 64}, "each has a name"),
        ({"name": "a"}, 'a: hash must be "sha256:'),
        ({"name": "a", "hash": "plain:secret"}, 'a: hash must be "sha256:'),
        ({"name": "a", "hash": "sha256:" + "0" * 64, "topics": []}, "a: topics must be a list"),
        ({"name": "a", "hash": "sha256:" + "0" * 64, "topics": ["trade:*:*"]}, "did you mean trades?"),
        ({"name": "a", "hash": "sha256:" + "0" * 64, "topic": []}, '"topic" is no key of a token; allowed: name'),
    ],
)
def test_tokens_that_are_refused(table: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        _tokens([table])


def test_two_tokens_of_one_name() -> None:
    table = {"name": "a", "hash": "sha256:" + "0" * 64}
    with pytest.raises(ValueError, match='two tokens are called "a"'):
        _tokens([table, table])


def test_a_hash_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "hash"
    token = Token("desk", f"file:{path}")
    with pytest.raises(ConfigError, match=r"the hash of the token desk: the file .* cannot be read: No such file"):
        _with_hash(token)
    path.write_text("no hash\n")
    with pytest.raises(ConfigError, match="holds no hash"):
        _with_hash(token)
    path.write_text(hash_of("x") + "\n")
    assert HASH.fullmatch(_with_hash(token).hash)
