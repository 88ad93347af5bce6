"""The feed says what each subscriber asks for, and tells it what cannot be had."""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Self

import pytest

from aggregator.bus.bus import Bus
from aggregator.bus.demand import Demanded, Tell, Unmet
from aggregator.bus.selection import BadPattern, Pattern
from aggregator.feed.access import Token
from aggregator.feed.address import parse_address
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import Channel, Health, Trade
from tests.feed.test_feed import Peer, Row
from tests.support.views import Fixed

pytestmark = pytest.mark.waits

REASON = "x lists no such market"


class Supply:
    """It has nothing, and remembers what was asked for."""

    def __init__(self) -> None:
        self.is_far = False
        self.foreseen: list[tuple[list[str], Callable[[], object]]] = []
        self.asked: dict[Hashable, list[str]] = {}
        self.tells: list[Tell] = []

    def foresee(self, who: Hashable, patterns: Mapping[str, Pattern], then: Callable[[], object]) -> None:  # noqa: ARG002
        self.foreseen.append((list(patterns), then))

    def want(self, who: Hashable, patterns: Mapping[str, Pattern], tell: Tell) -> list[Unmet]:
        self.asked[who] = list(patterns)
        self.tells.append(tell)
        return [Unmet(text, REASON, ("BTC/USD",)) for text in patterns if "NO" in text]

    def demanded(self, channel: Channel, exchange: str, raw_symbol: str) -> Demanded | None:  # noqa: ARG002
        return {"AUSD": Demanded("lingering", "it goes soon"), "BUSD": Demanded("pending", "its turn")}.get(raw_symbol)

    def all(self) -> list[list[str]]:
        return list(self.asked.values())


class Scene:
    def __init__(self, directory: Path, tokens: tuple[Token, ...] = ()) -> None:
        self.bus = Bus("epoch")
        self.supply = Supply()
        self.bus.supply = self.supply
        self.path = directory / "feed.sock"
        self.server = FeedServer(FeedSettings(listen=(parse_address(f"unix:{self.path}"),), tokens=tokens), self.bus)

        self.peers: list[Peer] = []

    async def peer(self) -> Peer:
        peer = Peer(*await asyncio.open_unix_connection(self.path))
        self.peers.append(peer)
        await peer.row()
        return peer

    async def __aenter__(self) -> Self:
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop(0)
        for peer in self.peers:
            peer.writer.close()
            with suppress(ConnectionError):
                await peer.writer.wait_closed()


async def test_what_cannot_be_had_is_told_with_the_answer_and_later_to_the_one_alone(tmp_path: Path) -> None:
    it = Scene(tmp_path)
    async with it:
        one, other = await it.peer(), await it.peer()
        assert (await other.ask("trades:x:NO"))["absent"]
        said = await one.ask({"op": "subscribe", "topics": ["trades:x:A", "trades:x:NO"], "id": 1})
        unmet = {"topic": "trades:x:NO", "reason": REASON, "nearest": ["BTC/USD"]}
        assert said == {
            "type": "subscribed",
            "topics": ["trades:x:A", "trades:x:NO"],
            "matched": 0,
            "absent": [unmet],
            "id": 1,
        }
        assert "absent" not in await one.ask("trades:x:B")  # only what this request names
        it.supply.tells[-1]([Unmet("trades:x:A", "it is halted"), Unmet("gone:x:A", "it was left")])
        row = await one.row()
        assert {key: row[key] for key in ("type", "exchange", "symbol", "channel", "state", "reason")} == {
            "type": "health",
            "exchange": "x",
            "symbol": "A",
            "channel": "trades",
            "state": "down",
            "reason": "it is halted",
        }
        assert await other.ask({"op": "ping"}) == {"type": "pong", "id": None}
        assert it.bus.offset == 0


async def test_what_is_told_later_does_not_overtake_records_that_were_published_before(tmp_path: Path) -> None:
    """A reader that took its place from the state's offset would lose them at a cut."""
    it = Scene(tmp_path)
    async with it:
        peer = await it.peer()
        await peer.ask("trades:x:A")
        it.bus.attach(it.server.publish)
        it.bus.publish([Trade(exchange="x", symbol="A", raw_symbol="A", price="1", size="1")])
        it.supply.tells[-1]([Unmet("trades:x:A", "it is halted")])
        rows = [await peer.row(), await peer.row()]
        assert [(row["type"], row["offset"]) for row in rows] == [("trade", 1), ("health", 1)]


async def test_what_a_subscriber_leaves_is_asked_for_no_more_however_it_goes(tmp_path: Path) -> None:
    it = Scene(tmp_path)
    async with it:
        one, two, three = await it.peer(), await it.peer(), await it.peer()
        await one.ask("trades:x:A book:x:A")
        await two.ask("trades:x:B")
        await three.ask("trades:x:C")
        assert it.supply.all() == [["trades:x:A", "book:x:A"], ["trades:x:B"], ["trades:x:C"]]
        await one.ask({"op": "unsubscribe", "topics": ["trades:x:A"]})
        two.writer.transport.abort()
        three.say("a" * 70_000)  # it is hung up on
        await three.rest()
        for _ in range(200):
            await asyncio.sleep(0.01)
            if it.supply.all() == [["book:x:A"], [], []]:
                break
        assert it.supply.all() == [["book:x:A"], [], []]
    assert it.supply.all() == [[], [], []]


async def test_a_token_is_told_the_reason_and_no_names_that_it_may_not_have(tmp_path: Path) -> None:
    token = Token("desk", f"sha256:{sha256(b'secret').hexdigest()}", ("trades:x:NO",))
    it = Scene(tmp_path, (token,))
    async with it:
        peer = await it.peer()
        assert (await peer.ask({"op": "auth", "token": "secret"}))["type"] == "authenticated"
        (unmet,) = (await peer.ask("trades:x:NO"))["absent"]
        assert unmet == {"topic": "trades:x:NO", "reason": REASON, "nearest": []}
        refused = await peer.ask("trades:x:A")
        assert refused["type"] == "error"
        assert it.supply.all() == [["trades:x:NO"]]


async def test_states_tell_how_topics_on_demand_stand(tmp_path: Path) -> None:
    it = Scene(tmp_path)
    states = {"AUSD": "live", "CUSD": "live"}
    healths = [
        Health(exchange="x", symbol=name, raw_symbol=name, channel="trades", state=state)  # type: ignore[arg-type]
        for name, state in states.items()
    ]
    view = Fixed(healths=healths)
    view.healths.append(Health(exchange="x", symbol="BUSD", raw_symbol="BUSD", channel="trades", state="down"))
    it.bus.views.add("x", view)
    async with it:
        del view.healths[2]  # it is known, and nothing carries it
        peer = await it.peer()
        row: Row = await peer.ask({"op": "topics", "states": True})
        assert dict(zip(row["topics"], row["states"], strict=True)) == {
            "trades:x:AUSD": {"state": "live", "age_ms": None, "reason": "it goes soon", "demand": "lingering"},
            "trades:x:BUSD": {"state": "down", "age_ms": None, "reason": "its turn", "demand": "pending"},
            "trades:x:CUSD": {"state": "live", "age_ms": None, "reason": None},
        }


async def test_a_request_that_is_refused_asks_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = Scene(tmp_path)
    async with it:
        peer = await it.peer()
        await peer.ask("trades:x:A")

        def refuse(_: object) -> None:
            raise BadPattern("that is too much")

        monkeypatch.setattr(it.server.hub._derived, "join", refuse)
        assert (await peer.ask("trades:x:A book.5:x:B"))["error"] == "that is too much"
        assert it.supply.all() == [["trades:x:A"]]


# --- another process knows what can be had ----------------------------------------------------------------------------


class FarScene(Scene):
    """What can be had is known once the test says so."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.supply.is_far = True

    async def foreseen(self, count: int = 1) -> Callable[[], object]:
        """Wait until so much has been asked; this is called once the last of it is known."""
        async with asyncio.timeout(10):
            while len(self.supply.foreseen) < count:  # noqa: ASYNC110 - it is called
                await asyncio.sleep(0.01)
        return self.supply.foreseen[-1][1]


async def test_nothing_else_is_heard_before_it_is_known_what_can_be_had(tmp_path: Path) -> None:
    it = FarScene(tmp_path)
    async with it:
        peer = await it.peer()
        peer.say("trades:x:A trades:x:NO", {"op": "ping", "id": 7}, "trades:x:B")
        then = await it.foreseen()
        assert it.supply.foreseen[0][0] == ["trades:x:A", "trades:x:NO"]
        assert it.supply.asked == {}
        then()
        said = await peer.row()
        assert (said["type"], [each["topic"] for each in said["absent"]]) == ("subscribed", ["trades:x:NO"])
        assert await peer.row() == {"type": "pong", "id": 7}
        then = await it.foreseen(2)
        assert it.supply.foreseen[1][0] == ["trades:x:A", "trades:x:NO", "trades:x:B"]
        then()
        assert (await peer.row())["topics"] == ["trades:x:B"]
        assert it.supply.all() == [["trades:x:A", "trades:x:NO", "trades:x:B"]]


async def test_one_that_says_no_more_while_that_is_awaited_is_kept_for_what_it_asked(tmp_path: Path) -> None:
    it = FarScene(tmp_path)
    async with it:
        peer = await it.peer()
        peer.say("trades:x:A")
        peer.writer.write_eof()
        (await it.foreseen())()
        assert (await peer.row())["type"] == "subscribed"
        it.supply.tells[-1]([Unmet("trades:x:A", "it is halted")])
        assert (await peer.row())["reason"] == "it is halted"


async def test_one_that_leaves_while_that_is_awaited_asks_for_nothing(tmp_path: Path) -> None:
    it = FarScene(tmp_path)
    async with it:
        peer = await it.peer()
        peer.say("trades:x:A")
        then = await it.foreseen()
        peer.writer.transport.abort()
        async with asyncio.timeout(10):
            while it.supply.all() != [[]]:  # noqa: ASYNC110 - it is called
                await asyncio.sleep(0.01)
        then()
        assert it.supply.all() == [[]]


async def test_a_request_that_is_refused_once_that_is_known_asks_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = FarScene(tmp_path)
    async with it:
        peer = await it.peer()

        def refuse(_: object) -> None:
            raise BadPattern("that is too much")

        monkeypatch.setattr(it.server.hub._derived, "join", refuse)
        peer.say("trades:x:A book.5:x:B")
        (await it.foreseen())()
        assert (await peer.row())["error"] == "that is too much"
        assert it.supply.all() == [[]]
        assert await peer.ask({"op": "ping"}) == {"type": "pong", "id": None}
