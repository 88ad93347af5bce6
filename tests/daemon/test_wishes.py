"""What a wish means and may have brought, how fast that is done, and what comes of a topic that is wanted again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest

from aggregator.bus.bus import Bus
from aggregator.bus.demand import Unmet
from aggregator.bus.view import Wanted
from aggregator.daemon import on_demand
from aggregator.daemon.followed import Followed
from aggregator.daemon.names import NamesOfMarkets
from aggregator.daemon.on_demand import OnDemand
from aggregator.derived.channels import needs, parse_topics
from aggregator.exchange import Exchange
from aggregator.ingest.listing import Listed, Markets
from aggregator.records import Gap, Health, Instrument, Trade
from tests.support.toy import Seen, Server, leaving, running, toy
from tests.support.virtual_time import run

pytestmark = pytest.mark.waits


def market(name: str, quote: str = "USD", **fields: Any) -> Instrument:
    return Instrument(
        exchange="toy", raw_symbol=f"{name}{quote}", symbol=f"{name}/{quote}", base=name, quote=quote, **fields
    )


def listed(instruments: Sequence[Instrument]) -> Listed:
    return Listed(0, tuple(instruments), (0,) * len(instruments), frozenset({0}))


class Runner:
    """It carries what it is told to, and notes when that changed."""

    def __init__(self) -> None:
        self.unserved: dict[str, list[Instrument]] = {}
        self.left_out: list[Instrument] = []
        self.carried: set[str] = set()
        self.begun: list[float] = []
        self.changes = 0
        self._next: set[str] = set()

    def dividing(self, instruments: Sequence[Instrument], channels_of: Any) -> Iterator[None]:
        self._next = {f"{channel}:{i.symbol}" for i in instruments for channel in channels_of(i)}
        yield

    def carrying(self, _: str) -> Iterator[None]:
        self.begun += [asyncio.get_running_loop().time()] * len(self._next - self.carried)
        self.changes += len(self._next ^ self.carried)
        self.carried = self._next
        yield

    def is_refused(self, *_: str) -> bool:
        return False

    def why_not(self, *_: str) -> str | None:
        return None


class Scene:
    """One exchange that is on demand, and subscribers by name."""

    def __init__(
        self, instruments: Sequence[Instrument], runner: Any = None, bus: Bus | None = None, **keys: Any
    ) -> None:
        table = {
            "symbols": ("*",),
            "channels": ("trades", "book"),
            "intervals": ("1m",),
            "max_topics": 9000,
            "linger": 5.0,
            "credentials": {},
            "part": None,
        }
        self.bus = bus or Bus("test")
        self.known: list[Wanted] = []
        self.bus.views.follow(self.known.extend)
        config = SimpleNamespace(id="toy", on_demand=True, **(table | keys))
        self.supply = OnDemand([config], self.bus, {})  # type: ignore[list-item]
        self.runner: Any = runner or Runner()
        self.offer = self.supply.offers["toy"]
        self.markets = Markets(listed(instruments))
        self.followed = Followed(config, toy(), self.runner, self.markets, self.offer)  # type: ignore[arg-type]
        self.told: list[tuple[str, Unmet]] = []

    def want(self, who: str, *texts: str) -> dict[str, str]:
        """Why what is asked for cannot be had."""

        def tell(unmet: Sequence[Unmet]) -> None:
            self.told += [(who, each) for each in unmet]

        unmet = self.supply.want(who, {text: needs(parse_topics(text)) for text in texts}, tell)
        return {each.topic: each.reason for each in unmet}

    def relist(self, instruments: Sequence[Instrument]) -> None:
        for _ in range(2):  # a market is gone once two listings lack it
            self.markets.update(listed(instruments))
        self.followed.follow()

    @asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        self.followed.follow()
        task = asyncio.create_task(self.offer.run(self.followed))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


MANY = [market(f"A{n}", quote) for n in range(300) for quote in ("USD", "EUR")]


# --- patterns


def test_a_pattern_brings_what_it_means_or_nothing_where_that_is_too_much() -> None:
    async def main() -> None:
        it = Scene(MANY)
        async with it.going():
            assert it.want(
                "one", "trades:toy:A1*/USD", "trades:toy:A9*/EUR", "*:*:*", "health:*:*", "trades:t*:A*"
            ) == {"trades:toy:A1*/USD": "it means more than 100 topics, and none is brought for that; name markets"}
            await asyncio.sleep(2)
            assert it.runner.carried == {f"trades:A{n}/EUR" for n in (9, *range(90, 100))}
            assert it.want("two", "*:t*:A7/USD", "book:*:A8EUR") == {}
            await asyncio.sleep(2)
            assert {"trades:A7/USD", "book:A7/USD", "book:A8/EUR"} < it.runner.carried
            assert len(it.runner.carried) == 14

    run(main())


def test_a_pattern_follows_the_listing_and_keeps_what_it_has_when_it_grows_too_wide() -> None:
    async def main() -> None:
        it = Scene([market(f"A{n}") for n in range(99)])
        async with it.going():
            assert it.want("one", "trades:toy:*") == {}
            await asyncio.sleep(5)
            assert len(it.runner.carried) == 99
            it.relist([market(f"A{n}") for n in range(100)])
            assert (len(it.runner.carried), it.told) == (100, [])
            it.relist([market(f"A{n}") for n in range(101)])
            assert len(it.runner.carried) == 100
            ((who, unmet),) = it.told
            assert (who, unmet.topic) == ("one", "trades:toy:*")
            it.relist([market("A1")])
            assert it.runner.carried == {"trades:A1/USD"}

    run(main())


def test_only_a_few_patterns_of_one_subscriber_have_something_brought() -> None:
    async def main() -> None:
        it = Scene(MANY)
        async with it.going():
            texts = [f"trades:toy:A{n}*/USD" for n in range(10, 31)]
            assert it.want("one", *texts) == {
                texts[20]: "only 20 patterns with * in the symbol may have something brought"
            }
            assert it.want("one", *texts[1:20]) == {}
            assert it.want("one", *texts[1:]) == {}  # one has become free

    run(main())


def test_bounds_of_one_subscriber_and_of_the_exchange() -> None:
    async def main() -> None:
        it = Scene([market(f"A{n}") for n in range(1200)], max_topics=1002)
        async with it.going():
            said = it.want("one", *(f"trades:toy:A{n}/USD" for n in range(1001)))
            assert said == {"trades:toy:A1000/USD": "one subscriber has at most 1000 topics brought"}
            said = it.want("two", *(f"trades:toy:A{n}/USD" for n in range(999, 1003)))
            assert said == {"trades:toy:A1002/USD": "there is no room for one more: max_topics of toy is 1002"}
            it.want("one")
            assert it.want("three", "trades:toy:A1002/USD") == {}

    run(main())


# --- how fast


def test_topics_are_begun_fifty_a_second_and_nobody_waits_behind_anothers_thousand() -> None:
    async def main() -> None:
        it = Scene(MANY)
        async with it.going():
            it.want(
                "greedy", *(f"trades:toy:A{n}/USD" for n in range(300)), *(f"book:toy:A{n}/USD" for n in range(300))
            )
            await asyncio.sleep(1.5)
            assert len(it.runner.carried) == 100
            assert it.supply.demanded("trades", "toy", "A299USD").state == "pending"  # type: ignore[union-attr]
            it.want("modest", "book:toy:A7/EUR")
            await asyncio.sleep(1.1)
            assert "book:A7/EUR" in it.runner.carried
            await asyncio.sleep(12)
            assert len(it.runner.carried) == 601
            assert max(Counter(int(at) for at in it.runner.begun).values()) <= 50

    run(main())


def test_a_storm_changes_no_more_upstream_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        it = Scene(MANY, linger=0.0)
        async with it.going():
            for at in range(20_000):
                n = at * 7 % 300
                it.want(f"bad {at % 5}", *(f"*:toy:A{n + k}/USD" for k in range(at % 9)))
                if at % 100 == 0:
                    await asyncio.sleep(0.01)
            changed = it.runner.changes
            assert 0 < changed <= 50 * 4
            for who in range(5):
                it.want(f"bad {who}")
            await asyncio.sleep(10)
            assert (it.runner.carried, it.offer._topics, it.offer._by_name, it.offer._weight) == (set(), {}, {}, 0)

    run(main())


# --- release


def test_what_is_left_while_it_waits_is_never_asked_for_and_what_lingers_is_not_asked_for_again() -> None:
    async def main() -> None:
        it = Scene(MANY)
        async with it.going():
            it.want("one", "trades:toy:A1/USD")
            it.want("one")
            await asyncio.sleep(1)
            assert it.runner.changes == 0
            it.want("one", "trades:toy:A1/USD")
            await asyncio.sleep(1)
            it.want("one")
            await asyncio.sleep(4.9)
            assert it.supply.demanded("trades", "toy", "A1USD").state == "lingering"  # type: ignore[union-attr]
            it.want("two", "trades:toy:A1/USD")
            await asyncio.sleep(20)
            assert it.runner.changes == 1
            it.want("two")
            await asyncio.sleep(5.2)
            assert (it.runner.changes, it.runner.carried) == (2, set())
            assert it.supply.demanded("trades", "toy", "A1USD") is None

    run(main())


def test_a_market_that_goes_is_told_and_comes_again_with_the_listing() -> None:
    async def main() -> None:
        it = Scene([market("A"), market("B")])
        async with it.going():
            assert it.want("one", "trades:toy:A/USD", "trades:toy:C/USD") == {
                "trades:toy:C/USD": "toy lists no 'C/USD'"
            }
            await asyncio.sleep(1)
            it.relist([market("B"), market("C")])
            assert it.runner.carried == {"trades:C/USD"}  # within the very call that brings the listing
            assert [(who, unmet.topic, unmet.reason) for who, unmet in it.told] == [
                ("one", "trades:toy:A/USD", "toy lists no 'A/USD'")
            ]
            it.relist([market("A", state="halt"), market("C")])
            assert it.told[-1][1].reason == "it is halted (halt)"
            it.relist([market("A"), market("C")])
            assert it.runner.carried == {"trades:A/USD", "trades:C/USD"}

    run(main())


def test_the_markets_of_one_raw_symbol_are_told_apart_by_their_unified_ones() -> None:
    async def main() -> None:
        spot = Instrument(raw_symbol="AUSD", symbol="A/USD", base="A", quote="USD")
        swap = Instrument(raw_symbol="AUSD", symbol="A/USD:USD", base="A", quote="USD", kind="perpetual", linear=True)
        it = Scene([spot, swap])
        async with it.going():
            it.want("one", "trades:toy:A/USD:USD")
            await asyncio.sleep(1)
            assert it.runner.carried == {"trades:A/USD:USD"}
            it.want("one", "trades:toy:AUSD")
            await asyncio.sleep(1)
            assert it.runner.carried == {"trades:A/USD:USD", "trades:A/USD"}
            assert it.known[0] == Wanted("trades", "toy", "AUSD", "A/USD:USD")

    run(main())


def test_an_exchange_that_begins_anew_has_what_is_asked_for_at_once() -> None:
    async def main() -> None:
        it = Scene(MANY)
        async with it.going():
            it.want("one", *(f"trades:toy:A{n}/USD" for n in range(200)))
            it.want("two", "trades:toy:A7/EUR")
            await asyncio.sleep(6)
            it.want("two")
        it.offer.close()
        assert it.supply.demanded("trades", "toy", "A1USD") == (
            "wanted",
            "toy is not there yet: its instruments are being asked for",
        )
        it.runner.carried = set()
        async with it.going():
            assert it.runner.carried == {f"trades:A{n}/USD" for n in range(200)}

    run(main())


# --- names


def test_the_names_that_were_meant() -> None:
    names = NamesOfMarkets()
    for _ in names.reading([market("BTC"), market("BTC", "USDT"), market("BTC", "EUR"), market("ETH"), market("BCH")]):
        pass
    assert names.near("btc-usd") == ("BTC/USD", "BTC/USDT")
    assert names.near("ETHUSDT") == ("ETH/USD",)
    assert names.near("XYZ/USD") == ()
    assert [i.symbol for i in names.named("BTCEUR")] == ["BTC/EUR"]


def test_few_names_of_a_request_are_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def near(_: NamesOfMarkets, name: str) -> tuple[str, ...]:
        asked.append(name)
        return ()

    monkeypatch.setattr(NamesOfMarkets, "near", near)

    async def main() -> None:
        it = Scene(MANY)
        async with it.going():
            assert len(it.want("one", *(f"trades:toy:B{n}" for n in range(900)))) == 900

    run(main())
    assert len(asked) == on_demand.MOST_HINTS


# --- on a real connection


@asynccontextmanager
async def asked(exchange: Exchange, **keys: Any) -> AsyncIterator[tuple[Server, Seen, Scene]]:
    """A toy exchange with the markets A and B, on demand."""
    async with running(exchange, channels=("trades", "book", "ticker"), symbols=()) as (server, seen, runner):
        instruments = [Instrument(raw_symbol=s, symbol=f"{s}/USD", base=s, quote="USD") for s in "AB"]
        channels = {"channels": ("trades", "book", "ticker", "candles"), "linger": 0.0}
        it = Scene(instruments, runner, runner._bus, **(channels | keys))
        async with it.going():
            yield server, seen, it


def subscribes(server: Server) -> int:
    return sum(asked["op"] == "+" for asked in server.asked)


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - it is another connection that changes it
            await asyncio.sleep(0.01)


async def test_a_topic_that_is_wanted_again_is_not_told_twice_and_what_was_traded_meanwhile_is_no_gap() -> None:
    async with asked(leaving(), linger=0.1) as (server, seen, it):
        it.want("stays", "trades:toy:B")
        it.want("one", "trades:toy:A")
        await until(lambda: subscribes(server) == 1)
        for n in (5, 6, 7):
            await server.trade(n)
        await seen.until(Trade, 3)
        it.want("one")
        await seen.until(Health, state="down", raw_symbol="A")
        await server.trade(8)  # nobody wants it
        it.want("two", "trades:toy:A")
        await until(lambda: subscribes(server) == 2)
        for n in (6, 7, 30, 31):
            await server.trade(n)
        await seen.until(Trade, 5)
        await server.trade(33)
        await seen.until(Trade, 6)
        assert [trade.sequence for trade in seen.of(Trade)] == [5, 6, 7, 30, 31, 33]
        (gap,) = [gap for gap in seen.of(Gap) if gap.phase == "open"]
        assert (gap.expected, gap.got, gap.missed) == (32, 33, 1)
        assert server.connections == 1


async def test_a_connection_that_has_ended_meanwhile_makes_nothing_come_twice() -> None:
    async with asked(leaving()) as (server, seen, it):
        it.want("one", "trades:toy:A")
        await until(lambda: server.asked)
        await server.trade(5)
        await seen.until(Trade)
        it.want("one")
        await until(lambda: not it.runner.shards)
        it.want("one", "trades:toy:A")
        await until(lambda: server.connections == subscribes(server) == 2)
        await server.trade(5)
        await server.trade(9)
        await seen.until(Trade, 2)
        assert [trade.sequence for trade in seen.of(Trade)] == [5, 9]
        assert seen.of(Gap) == []


async def test_what_the_exchange_refuses_is_told_in_its_own_words() -> None:
    async with asked(leaving()) as (server, seen, it):
        server.refuse = {"A"}
        it.want("one", "trades:toy:A", "trades:toy:B")
        (health,) = await seen.until(Health, state="down", raw_symbol="A")
        assert health.reason == "refused: no such symbol"
        assert it.supply.demanded("trades", "toy", "A") == ("wanted", "refused: no such symbol")
        await until(lambda: it.supply.demanded("trades", "toy", "B") == ("live", None))


async def test_of_a_choice_the_first_is_brought_that_there_is() -> None:
    async with asked(toy(), channels=("trades", "bbo", "book")) as (_, _, it):  # no feed carries its best prices
        assert it.want("one", "consolidated:*:A/USD", "consolidated:toy:NO") == {
            "consolidated:toy:NO": "toy lists no 'NO'"
        }
        await until(lambda: it.supply.demanded("book", "toy", "A") == ("live", None))
        assert [(each.channel, each.symbol) for each in it.offer.absent()] == [("bbo", "NO")]
        assert it.supply.demanded("bbo", "toy", "A") is None


async def test_a_topic_that_no_feed_carries_is_told_to_everybody_who_asks() -> None:
    async with asked(toy()) as (_, _, it):
        it.runner._channels = ("trades", "candles")
        assert it.want("one", "candles:toy:A") == {}
        await until(lambda: it.told)
        words = "no feed of toy carries candles of it"
        assert it.told == [("one", Unmet("candles:toy:A", words))]
        assert it.want("two", "candles:toy:A/USD") == {"candles:toy:A/USD": words}
        assert it.supply.demanded("candles", "toy", "A") == ("wanted", words)


async def test_a_polled_topic_comes_at_once_and_is_left() -> None:
    async with asked(toy()) as (_, _, it):
        it.want("one", "ticker:toy:A")
        await until(lambda: it.runner.pollers and it.runner.pollers[0].carries(("ticker", "A")))
        assert it.runner.shards == []
        it.want("one")
        await until(lambda: not it.runner.pollers[0].carries(("ticker", "A")))
        assert it.supply.demanded("ticker", "toy", "A") is None


async def test_of_a_choice_the_next_is_brought_beside_a_first_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_demand, "LOOK_S", 0.05)
    exchange = leaving(channels={"trades": "t", "book": "b", "bbo": "q"})
    async with asked(exchange, channels=("trades", "bbo", "book")) as (server, _, it):
        it.followed.exchange = exchange
        server.refuse = {"bbo:A"}
        it.want("one", "consolidated:*:A/USD")
        await until(lambda: it.supply.demanded("book", "toy", "A") == ("live", None))
        assert it.supply.demanded("bbo", "toy", "A") == ("wanted", "refused: no such symbol")
        monkeypatch.setattr(it.runner, "is_refused", lambda *_: False)
        await until(lambda: it.supply.demanded("book", "toy", "A") is None)
        assert it.supply.demanded("bbo", "toy", "A") is not None
