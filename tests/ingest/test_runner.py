"""The runner over real sockets: connect, subscribe, lose the line, come back, stop."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.daemon.relisting import Listings
from aggregator.errors import SessionError
from aggregator.ingest.network import Internet
from aggregator.ingest.runner import ExchangeRunner
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Instrument, Record, Trade
from aggregator.session.moment import Now
from tests.support.toy import HOST, PATIENCE, leaving, running, toy

UNTIL, SINCE = {"until": "2027-03-01"}, {"since": "2027-03-01"}

pytestmark = pytest.mark.waits


def numbers(trades: list[Record]) -> list[int | None]:
    return [trade.sequence for trade in trades]


async def test_subscribes_joins_a_book_and_publishes_with_offsets() -> None:
    async with running(toy()) as (server, seen, _):
        await seen.until(Health, channel="book", state="syncing")
        await server.delta(1)
        await seen.until(BookSnapshot)
        await server.delta(2)
        await server.trade(1)
        await seen.until(BookDelta, sequence=2)
        trade = (await seen.until(Trade))[0]
        assert server.asked == [{"id": 1, "topics": ["trades:A", "book:A"]}]
        assert (trade.exchange, trade.symbol, trade.conn) == ("toy", "A/USD", "toy/main.1#1")
        assert [r.offset for r in seen.records] == list(range(1, len(seen.records) + 1))


async def test_a_lost_line_opens_gaps_that_the_next_one_closes() -> None:
    async with running(toy()) as (server, seen, _):
        await seen.until(Health, state="syncing")
        await server.delta(1)
        await server.trade(1)
        await seen.until(Trade)
        await seen.until(BookSnapshot)
        await server.sockets[-1].close()
        opened = await seen.until(Gap, 2, phase="open", cause="disconnect")
        assert {gap.channel for gap in opened} == {"trades", "book"}
        await seen.until(Health, 4, state="syncing")
        await server.trade(2)
        await server.delta(5)
        closed = await seen.until(Gap, 2, phase="close")
        repairs = {gap.channel: gap.repair for gap in closed}
        assert repairs == {"trades": "not_needed", "book": "none"}
        assert {gap.gap_id for gap in closed} == {gap.gap_id for gap in opened}
        assert server.connections == 2


async def test_trades_missed_while_away_are_counted() -> None:
    async with running(toy(), channels=("trades",)) as (server, seen, _):
        await seen.until(Health)
        await asyncio.sleep(0.05)
        await server.trade(1)
        await seen.until(Trade)
        await server.sockets[-1].close()
        await seen.until(Gap, phase="open")
        await seen.until(Health, 2, channel="trades", state="syncing")
        await server.trade(5)
        gap = (await seen.until(Gap, phase="close"))[0]
        assert (gap.cause, gap.missed, gap.repair) == ("disconnect", 3, "none")


async def test_one_refused_symbol_takes_no_other_down() -> None:
    async with running(toy(), channels=("trades",), symbols=("A", "B", "C")) as (server, seen, _):
        server.refuse = {"B"}
        down = await seen.until(Health, state="down")
        assert [health.raw_symbol for health in down] == ["B"]
        assert "no such symbol" in str(down[0].reason)
        await server.trade(1)
        await seen.until(Trade)
        assert server.connections == 1


async def test_a_frame_that_cannot_be_read_is_one_gap() -> None:
    async with running(toy(), channels=("trades",)) as (server, seen, _):
        await seen.until(Health)
        await asyncio.sleep(0.05)
        await server.sockets[-1].send_str("{broken")
        await server.trade(1)
        await seen.until(Trade)
        assert [gap.cause for gap in seen.of(Gap)] == ["parse_error"]
        assert server.connections == 1


async def test_snapshots_wait_out_a_429() -> None:
    async with running(toy(), channels=("book",)) as (server, seen, runner):
        server.status = 429
        await seen.until(Health, state="syncing")
        await server.delta(1)
        await asyncio.sleep(0.3)
        assert runner.rest.hosts.refused == 1
        server.status = 200
        await seen.until(BookSnapshot)


async def test_shards_by_the_declared_number_of_topics() -> None:
    symbols = tuple("ABCDE")
    async with running(toy(per_connection=2), channels=("trades",), symbols=symbols) as (server, seen, runner):
        await seen.until(Health, 5, state="syncing")
        assert server.connections == len(runner.shards) == 3


async def test_books_of_the_moment_hold_all_that_was_published() -> None:
    async with running(toy(), channels=("book",)) as (server, seen, runner):
        await seen.until(Health, state="syncing")
        await server.delta(1)
        await seen.until(BookSnapshot)
        await server.delta(2, bid="3")
        await seen.until(BookDelta, sequence=2)
        book = runner.book("A")
        assert book is not None
        assert list(runner.books()) == [book]
        assert (book.bids, book.asks, book.sequence) == ([("3", "1"), ("1", "1")], [("9", "1")], 2)
        assert runner.book("B") is None


async def test_a_stop_always_stops() -> None:
    for delay in (0, 0.01, 0.05, 0.2):
        async with asyncio.timeout(PATIENCE), running(toy()):
            await asyncio.sleep(delay)


@pytest.mark.parametrize("reason", ["refused", "handshake"])
async def test_an_exchange_that_cannot_be_reached_is_tried_again(reason: str) -> None:
    stream = {"url": "wss://nowhere.example/ws"} if reason == "refused" else {"url": f"{HOST}/book/A"}
    internet_target = {"wss://nowhere.example": "ws://127.0.0.1:1"}
    exchange = toy(**stream)
    bus = Bus("test")
    internet = Internet(internet_target)
    instruments = [Instrument(raw_symbol="A", symbol="A/USD")]
    runner = ExchangeRunner(exchange, ("trades",), ("1m",), network=internet.network(), bus=bus)
    runner.want(instruments)
    task = asyncio.create_task(runner.run())
    await asyncio.sleep(0.2)
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await internet.close()


def market(name: str) -> Instrument:
    return Instrument(raw_symbol=name, symbol=f"{name}/USD", base=name, quote="USD")


async def test_markets_that_come_one_by_one_fill_the_connections_that_there_are() -> None:
    markets = [market("A")]
    async with running(leaving(per_connection=4), channels=("trades",)) as (server, seen, runner):
        await seen.until(Health, state="syncing")
        for name in "BCDEFGHIJK":
            markets.append(market(name))
            runner.want(markets)
        await seen.until(Health, 11, state="syncing")
        assert server.connections == len(runner.shards) == 3
        assert [len(shard.subscriptions) for shard in runner.shards] == [4, 4, 3]


async def test_a_market_that_goes_frees_its_place_and_an_empty_connection_ends() -> None:
    async with running(leaving(per_connection=2), channels=("trades",), symbols="ABC") as (server, seen, runner):
        await seen.until(Health, 3, state="syncing")
        await server.say_to_all(s="A", n=1, price="5")
        await seen.until(Trade)
        runner.want([market("B"), market("D"), market("C")], "gone from the listing")
        await seen.until(Health, 4, state="syncing")
        assert (server.connections, [len(shard.subscriptions) for shard in runner.shards]) == (2, [2, 1])
        (down,) = await seen.until(Health, state="down")
        assert (down.raw_symbol, down.reason) == ("A", "gone from the listing")
        await server.say_to_all(s="A", n=2, price="5")
        runner.want([market("B"), market("D")], "gone from the listing")
        await server.ended.wait()
        assert numbers(seen.of(Trade)) == [1], "what is not wanted is silent"
        assert [sum(asked["op"] == op for asked in server.asked) for op in ("+", "-")] == [3, 2]


async def test_a_market_that_comes_back_has_one_subscription() -> None:
    async with running(leaving(), channels=("trades",)) as (server, seen, runner):
        await seen.until(Health, state="syncing")
        runner.want([])
        runner.want([market("A")])
        await seen.until(Health, 2, state="syncing")
        await server.say_to_all(s="A", n=1, price="5")
        await server.say_to_all(s="A", n=2, price="5")
        await seen.until(Trade, 2)
        assert numbers(seen.of(Trade)) == [1, 2]


async def test_why_a_market_has_no_subscription_is_told() -> None:
    async with running(leaving(), channels=("trades",), symbols="AB") as (server, seen, runner):
        server.refuse = {"B"}
        await seen.until(Health, state="down")
        assert runner.why_not("trades", "B") == "refused: no such symbol"
        assert runner.why_not("trades", "X") == "it is not wanted"
        await seen.until(Health, state="syncing")
        assert runner.why_not("trades", "A") is None


async def test_on_its_day_one_feed_takes_the_place_of_another() -> None:
    """As Kraken's futures move on 2027-03-01: at the next look at what is wanted, be there a new listing or not."""
    old, new = (leaving(name=name, **dates).feeds[0] for name, dates in (("old", UNTIL), ("new", SINCE)))
    exchange = structs.replace(leaving(), feeds=(old, new))
    day = [datetime.fromisoformat("2027-02-28T23:59:59+00:00")]
    internet = Internet()
    network = structs.replace(internet.network(), now=lambda: Now(int(day[0].timestamp()) * 10**9, 0))
    runner = ExchangeRunner(exchange, ["trades"], ["1m"], network=network, bus=Bus("test"))
    runner.want([market("A")])
    assert [shard.source.name for shard in runner.shards] == ["old"]
    day[0] += timedelta(seconds=1)
    runner.want([market("A")])
    assert [shard.source.name for shard in runner.shards] == ["new"]
    await internet.close()


async def test_a_listing_that_does_not_answer_stops_no_feed_from_beginning() -> None:
    looked = asyncio.Event()

    async def fail(*_: object, **__: object) -> object:
        raise SessionError("the listing has ended")

    def following() -> list[None]:
        looked.set()
        return [None]

    followed = SimpleNamespace(
        exchange=toy(),
        config=SimpleNamespace(max_instruments=9, processes=1),
        runner=SimpleNamespace(rest=None),
        until_relisting=lambda *_: asyncio.sleep(0.01),
        following=following,
        changing=asyncio.Lock(),
    )

    async def no_news(_: Sequence[Instrument]) -> None: ...

    task = asyncio.create_task(Listings.again(SimpleNamespace(fetch=fail, _passed={}), followed, no_news))  # type: ignore[arg-type]
    await asyncio.wait_for(looked.wait(), PATIENCE)
    task.cancel()


async def test_markets_for_which_there_is_no_room_are_left_out_whole_and_those_that_are_here_stay() -> None:
    internet = Internet()
    two = toy(channels={"trades": "t", "book": "b"})
    runner = ExchangeRunner(two, ["trades", "book"], ["1m"], network=internet.network(), bus=Bus("test"), most=5)
    runner.want([market("B"), market("C"), market("D")])
    assert sorted({s.raw_symbol for shard in runner.shards for s in shard.subscriptions}) == ["B", "C"]
    runner.want([market("A"), market("B"), market("C"), market("D")])
    assert sorted({s.raw_symbol for shard in runner.shards for s in shard.subscriptions}) == ["B", "C"]
    assert [instrument.raw_symbol for instrument in runner.left_out] == ["A", "D"]
    assert runner.why_not("trades", "A") == "it is left out: max_topics is 5"
    runner.want([market("A"), market("C"), market("D")])
    assert sorted({s.raw_symbol for shard in runner.shards for s in shard.subscriptions}) == ["A", "C"]
    await internet.close()


async def test_a_connection_of_one_market_carries_all_topics_of_it_and_of_no_other() -> None:
    async with running(toy(per_connection=3, one_market=True), channels=("trades", "book"), symbols="ABC") as (
        _,
        _,
        runner,
    ):
        carried = [sorted((s.raw_symbol, s.channel) for s in shard.subscriptions) for shard in runner.shards]
        assert carried == [[(market, "book"), (market, "trades")] for market in "ABC"]
