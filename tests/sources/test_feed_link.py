"""The link to another daemon's feed, at one that says what a test has it say: the unhappy ends, and half-open ways."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aggregator.bus.history import Cursor
from aggregator.client import wire
from aggregator.feed.protocol import Bye, Error, Hello, Live, Pong, Resuming, Subscribed
from aggregator.records import Trade
from aggregator.sources import feed as source
from aggregator.sources.feed import FeedLink, FeedSourceKeys, open_feed
from aggregator.sources.source import KnownPlace, LinkBroken, Passage
from tests.sources.test_passages import NEW, trade

pytestmark = pytest.mark.waits
KNOWN = KnownPlace("tokyo", Cursor(NEW, 10))


class Scripted:
    """A feed that greets, grants each subscription, and says nothing else by itself.

    asked: what it was asked
    """

    def __init__(self) -> None:
        self.asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.is_mute = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.say(Hello(1, NEW, 10, "1", daemon="tokyo"))
        while line := await reader.readline():
            request = json.loads(line)
            if not self.is_mute:
                self.asked.put_nowait(request)
                if request["op"] == "ping":
                    self.say(Pong(request["id"]))
        writer.close()

    def say(self, *messages: object) -> None:
        self._writer.write(b"".join(msgspec.json.encode(message) + b"\n" for message in messages))

    async def grant(self, *behind: object) -> dict[str, Any]:
        """Grant the next subscription, and say more in the same breath."""
        request = await self.asked.get()
        self.say(Subscribed(request["topics"], 1, id=request["id"]), *behind)
        return request

    def hang_up(self) -> None:
        self._writer.close()


@asynccontextmanager
async def linked(tmp_path: Path, *behind: object) -> AsyncIterator[tuple[Scripted, FeedLink]]:
    """A link that has gone on behind a place, and heard these messages with the answer to that."""
    there = Scripted()
    async with await asyncio.start_unix_server(there.serve, tmp_path / "up.sock"):
        opening = asyncio.ensure_future(
            open_feed(FeedSourceKeys(url=f"unix:{tmp_path}/up.sock"), ["trades:*:*", "instruments:*:*"], KNOWN)
        )
        request = await there.grant(*behind)
        link = await opening
        assert (request["from"]["epoch"], request["from"]["offset"]) == (NEW, 10)
        assert (link.daemon, link.is_resumed) == ("tokyo", True)
        try:
            yield there, link
        finally:
            await link.close()
            there.hang_up()


def offsets(passages: Any) -> list[int]:
    return [record.offset for passage in passages for record in passage.records]


async def read_on(link: FeedLink, found: list[int]) -> None:
    async with asyncio.timeout(5):
        while True:
            found += offsets(await link.read())


async def some(link: FeedLink) -> Passage:
    async with asyncio.timeout(5):
        return (await link.read())[-1]


@pytest.mark.parametrize(
    ("said", "words", "is_refused"),
    [
        (Bye("the daemon ends"), "it has hung up: the daemon ends", False),
        (Error("a line of more than 65536 bytes"), "it refuses: a line", True),
        (trade(12), "the connection was cut", False),
    ],
)
async def test_what_came_before_the_end_is_given_and_then_why_it_ends(
    tmp_path: Path, said: object, words: str, *, is_refused: bool
) -> None:
    async with linked(tmp_path, Resuming(NEW, 10), trade(11), Live(NEW, 11, "x"), said) as (there, link):
        there.hang_up()
        found: list[int] = []
        with pytest.raises(LinkBroken, match=words) as broken:
            await read_on(link, found)
    assert found == [11, 12][: 1 + isinstance(said, Trade)]
    assert broken.value.is_refused is is_refused


async def test_a_link_that_is_cut_while_it_is_made_says_so(tmp_path: Path) -> None:
    there = Scripted()
    async with await asyncio.start_unix_server(there.serve, tmp_path / "up.sock"):
        opening = asyncio.ensure_future(open_feed(FeedSourceKeys(url=f"unix:{tmp_path}/up.sock"), ["*:*:*"], KNOWN))
        await there.asked.get()
        there.hang_up()
        with pytest.raises(LinkBroken, match="cut"):
            await opening


async def test_how_things_stand_is_asked_again_where_the_feed_was_about_to_tell_the_past(tmp_path: Path) -> None:
    """It refuses a request that crosses with its word that it tells what was missed; once it is live it grants it."""
    async with linked(tmp_path, Live(NEW, 10, "x")) as (there, link):
        assert (await some(link)).is_live
        await link.ask_standing(books=False)
        request = await there.asked.get()
        assert request["topics"] == ["instruments:*:*"]
        there.say(Resuming(NEW, 10), Error("what was missed is being told", request["id"]), trade(11))
        assert offsets([await some(link)]) == [11]
        there.say(Live(NEW, 11, "x"))
        assert (await some(link)).is_live
        assert (await there.asked.get())["topics"] == ["trades:*:*", "instruments:*:*"]


async def test_how_things_stand_is_not_asked_before_the_past_is_told(tmp_path: Path) -> None:
    async with linked(tmp_path, Resuming(NEW, 10), trade(11)) as (there, link):
        assert offsets([await some(link)]) == [11]
        await link.ask_standing(books=True)
        there.say(trade(12))
        assert offsets([await some(link)]) == [12]
        assert there.asked.empty()
        there.say(Live(NEW, 12, "x"))
        assert (await some(link)).is_live
        assert (await there.asked.get())["op"] == "subscribe"


async def test_a_way_that_is_half_open_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The far end is stopped, or a router in between has forgotten the connection: nobody says so."""
    monkeypatch.setattr(source, "SILENT_S", 0.02)
    async with linked(tmp_path, Live(NEW, 10, "x")) as (there, link):
        assert (await some(link)).is_live
        there.is_mute = True
        monkeypatch.setattr(wire, "GREETING_S", 0.02)
        with pytest.raises(LinkBroken, match="nothing has come"):
            await some(link)


async def test_a_silent_link_that_answers_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "SILENT_S", 0.02)
    async with linked(tmp_path, Live(NEW, 10, "x")) as (there, link):
        assert (await some(link)).is_live
        reading = asyncio.ensure_future(some(link))
        for _ in range(3):
            assert (await there.asked.get())["op"] == "ping"
        there.say(trade(11))
        assert offsets([await reading]) == [11]


async def test_a_link_to_which_nobody_listens_is_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is passed on waits for sinks that are full, so that nothing is read for long."""
    monkeypatch.setattr(source, "SILENT_S", 0.02)
    async with linked(tmp_path, Live(NEW, 10, "x")) as (there, link):
        assert (await some(link)).is_live
        there.is_mute = True
        monkeypatch.setattr(wire, "GREETING_S", 0.02)
        await asyncio.sleep(0.1)
        there.say(trade(11))
        assert offsets([await some(link)]) == [11]
