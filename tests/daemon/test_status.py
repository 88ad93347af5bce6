"""How rooms tell how they fare, and how the daemon gathers it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from aggregator.bus.selection import Selection, parse_pattern
from aggregator.config.config import Config, ExchangeConfig
from aggregator.daemon import status as gathering
from aggregator.daemon.daemon import Daemon
from aggregator.daemon.followed import Followed
from aggregator.daemon.status import DaemonStatus, StatusQuery, gather
from aggregator.errors import ConfigError
from aggregator.feed import sink as feed_sink
from aggregator.ingest.budget import Window
from aggregator.ingest.listing import Listed, Markets
from aggregator.ingest.rest import Hosts
from aggregator.ingest.runner import ExchangeRunner
from aggregator.ingest.shard import ConnectionPolicy
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Instrument, Trade
from aggregator.session.status import TopicStatus
from aggregator.sinks import files
from tests.support.toy import running, toy

pytestmark = pytest.mark.waits

SECOND_NS = 10**9


def by_channel(runner: ExchangeRunner) -> dict[str, TopicStatus]:
    return {topic.channel: topic for topic in runner.topics() if topic is not None}


# --- topics -----------------------------------------------------------------------------------------------------------


async def test_a_topic_tells_its_state_since_when_and_on_which_connection() -> None:
    async with running(toy()) as (server, seen, runner):
        await seen.until(BookSnapshot)
        await server.delta(1)
        await seen.until(BookDelta)
        topics = by_channel(runner)
        book, trades = topics["book"], topics["trades"]
        (told,) = [r for r in seen.of(Health) if (r.channel, r.state) == ("trades", "syncing")]
        assert (trades.state, trades.since, trades.conn) == ("syncing", told.ts_recv, "toy/main.1#1")
        assert (trades.age_ms, trades.records) == (None, 0)
        assert (book.exchange, book.symbol, book.raw_symbol) == ("toy", "A/USD", "A")
        assert book.records >= 1
        assert book.age_ms is not None


async def test_an_open_gap_is_told_with_its_cause() -> None:
    async with running(toy(), channels=("trades",)) as (server, seen, runner):
        await seen.until(Health, state="syncing")
        await server.trade(1)
        await server.trade(1)
        await server.trade(9)
        (gap,) = await seen.until(Gap, phase="open")
        topic = by_channel(runner)["trades"]
        assert (topic.state, topic.gap, topic.since) == ("suspect", "sequence", gap.ts_recv)
        assert topic.gap_since == getattr(gap, "ts_from", None)
        assert (topic.gaps_opened, topic.gaps_closed, topic.duplicates) == (1, 0, 1)


async def test_a_refused_topic_tells_the_words_of_the_exchange() -> None:
    async with running(toy(), symbols=()) as (server, seen, runner):
        server.refuse = {"A"}
        runner.want([Instrument(raw_symbol="A", symbol="A/USD", base="A", quote="USD")])
        await seen.until(Health, channel="trades", state="down")
        await seen.until(Health, channel="book", state="down")
        assert {name: (topic.state, topic.reason) for name, topic in by_channel(runner).items()} == {
            "trades": ("down", "refused: no such symbol"),
            "book": ("down", "refused: no such symbol"),
        }


async def test_a_topic_that_waits_for_its_connection_says_so() -> None:
    exchange = toy(url="wss://elsewhere.example/ws")
    async with running(exchange, channels=("trades",)) as (_, _, runner):
        assert by_channel(runner)["trades"].reason in {"its connection is being made", None}
        async with asyncio.timeout(20):
            while by_channel(runner)["trades"].reason in {"its connection is being made", None}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        topic = by_channel(runner)["trades"]
        assert (topic.state, topic.conn is None or topic.age_ms is None) == ("down", True)


async def test_a_topic_that_no_feed_carries_is_absent_and_says_why() -> None:
    async with running(toy(), channels=("trades", "candles")) as (_, seen, runner):
        await seen.until(Health, channel="trades")
        found = by_channel(runner)
        assert (found["candles"].state, found["candles"].symbol) == ("absent", "A/USD")
        assert found["candles"].reason == runner.why_not("candles", "A") == "no feed of toy carries candles of it"


async def test_a_polled_topic_is_told_too() -> None:
    async with running(toy(), channels=("ticker",)) as (_, seen, runner):
        await seen.until(Health, channel="ticker", state="live")
        assert by_channel(runner)["ticker"].conn == "toy/rest#1"
        (poller,) = runner.pollers
        assert (poller.status().name, poller.status().topics, poller.status().silent) == ("toy/rest", 1, 0)
        assert poller.status().session.frames >= 1


# --- counters ---------------------------------------------------------------------------------------------------------


async def test_a_connection_counts_what_came_and_what_nobody_wanted() -> None:
    async with running(toy(), channels=("trades",)) as (server, seen, runner):
        await seen.until(Health, state="syncing")
        await server.say(s="B", n=1, price="5")
        await server.trade(1)
        await seen.until(Trade)
        (shard,) = runner.shards
        (line,) = shard.status().connections
        assert (line.conn, line.is_open, line.session.unwanted) == ("toy/main.1#1", True, 1)
        assert line.session.frames == 3  # the acknowledgement is one
        assert line.session.bytes > 0
        assert (shard.status().topics, shard.status().room, shard.status().attempts) == (1, 199, 1)


async def test_what_several_connections_bring_is_counted_as_dropped() -> None:
    both = ConnectionPolicy(redundancy=2)
    async with running(toy(), channels=("trades",), policy=both) as (server, seen, runner):
        await seen.until(Health, count=4)
        await server.say_to_all(s="A", n=1, price="5")
        async with asyncio.timeout(20):
            while not runner.shards[0].status().dropped:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        status = runner.shards[0].status()
        assert status.dropped == 1
        assert sorted(line.first for line in status.connections) == [0, 1]
        assert sorted(line.second for line in status.connections) == [0, 1]


def test_a_budget_says_what_is_left_and_a_host_that_it_wants_rest() -> None:
    hosts = Hosts()
    queue = hosts.queue("https://a.example", ((10, 1.0),))
    queue.windows[0].spend(4, 0)
    hosts.connects("a.example", (5, 60.0)).spend(1, 0)
    hosts.leave_alone("b.example", "slow down", 9.0, 0)
    found = hosts.status(SECOND_NS // 2)
    (budget,), (connects,), (resting,) = found.budgets, found.connects, found.resting
    assert (budget.of, budget.limit, budget.left, budget.waiting) == ("https://a.example", 10, 6, 0)
    assert (connects.of, connects.left) == ("a.example", 4)
    assert (resting.host, resting.seconds, resting.words) == ("b.example", 8.5, "slow down")
    assert found.refused == 1
    assert hosts.status(60 * SECOND_NS).resting == []
    assert hosts.status(60 * SECOND_NS).budgets[0].left == 10


def test_what_is_left_of_a_window_comes_back_with_time() -> None:
    window = Window((10, 1.0))
    window.spend(25, 0)
    assert window.left(1) == -15  # one call may weigh more than all that there is
    assert window.left(2 * SECOND_NS) == 10


async def test_words_that_mean_nothing_are_counted() -> None:
    async with running(toy(), channels=("trades",)) as (server, seen, runner):
        await seen.until(Health, state="syncing")
        await server.say(refused=98)
        await server.say(refused=99)
        await server.trade(1)
        await seen.until(Trade)
        assert runner.words() == {"a refusal that cannot be tied to one topic: 'no such symbol'": 2}


# --- markets that wait ------------------------------------------------------------------------------------------------


def test_a_market_that_is_named_and_halted_waits_with_its_reason() -> None:
    runner = SimpleNamespace(
        dividing=lambda *_: iter(()),
        wanting=lambda *_: iter(()),
        carrying=lambda *_: iter(()),
        unserved={},
        left_out=(),
    )
    halted = Instrument(raw_symbol="AB", symbol="A/B", base="A", quote="B", state="halt")
    config = ExchangeConfig(id="toy", channels=("trades",), symbols=("*", "X/*"), endpoints={})
    followed = Followed(config, toy(), runner, Markets(Listed(7, (halted,), (0,), frozenset({0}))))  # type: ignore[arg-type]
    followed.follow()
    assert [found for found in followed.waiting() if found] == [(halted, "it is halted (halt)")]
    assert followed.why_not(halted) == "it is halted (halt)"
    assert (followed.status().markets, followed.status().waiting) == (0, {"halted": 1})
    assert followed.status().idle == ["*", "X/*"]
    assert (followed.markets.status().ts, followed.markets.status().instruments) == (7, 1)


# --- the whole --------------------------------------------------------------------------------------------------------


def daemon_of(tmp_path: Path, *ids: str) -> Daemon:
    exchanges = tuple(ExchangeConfig(id=id, channels=("trades",), symbols=("*",), endpoints={}) for id in ids)
    return Daemon(Config(exchanges=exchanges, sinks=(), state=tmp_path, log_level="info"))


def many(count: int) -> Iterator[TopicStatus]:
    for n in range(count):
        state = "live" if n % 10 else "down"
        yield TopicStatus(exchange="toy", channel="trades", symbol=f"S{n}", raw_symbol=f"S{n}", state=state)  # type: ignore[arg-type]


def fake(daemon: Daemon, count: int) -> None:
    daemon.exchanges.runners["toy"] = SimpleNamespace(topics=lambda: many(count), shards=[], pollers=[], words=dict)  # type: ignore[assignment]


async def test_exchanges_that_do_not_run_say_why(tmp_path: Path) -> None:
    daemon = daemon_of(tmp_path, "toy", "other")
    daemon.exchanges.troubles["other"] = "its listing: HTTP 503"
    found = await gather(daemon, StatusQuery())
    assert [(e.id, e.state, e.trouble) for e in found.exchanges] == [
        ("toy", "starting", None),
        ("other", "waiting", "its listing: HTTP 503"),
    ]
    assert found.process.pid
    assert found.bus.epoch == daemon.bus.epoch


async def test_topics_are_counted_and_told_when_they_are_asked_for(tmp_path: Path) -> None:
    daemon = daemon_of(tmp_path, "toy")
    fake(daemon, 100)
    none = await gather(daemon, StatusQuery())
    assert (none.exchanges[0].topics, none.topics) == ({"live": 90, "down": 10}, [])
    troubled = await gather(daemon, StatusQuery(is_troubled=True, most=4))
    assert ([t.symbol for t in troubled.topics], troubled.left_out) == (["S0", "S10", "S20", "S30"], 6)
    wanted = Selection([parse_pattern("trades:t*:S1*"), parse_pattern("book:*:*")])
    named = await gather(daemon, StatusQuery(wanted=wanted, most=100))
    assert [t.symbol for t in named.topics] == ["S1", *(f"S1{n}" for n in range(10))]


async def test_others_have_their_turn_while_many_topics_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "TURN_S", 0.0)  # after each topic: what is counted here is whether they have one
    daemon = daemon_of(tmp_path, "toy")
    fake(daemon, 500)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await gather(daemon, StatusQuery())
    task.cancel()
    assert turns >= 500


def test_a_status_comes_back_from_json() -> None:
    import msgspec

    async def one(path: Path) -> DaemonStatus:
        daemon = daemon_of(path, "toy")
        fake(daemon, 3)
        return await gather(daemon, StatusQuery(most=10))

    status = asyncio.run(one(Path("unused")))
    assert msgspec.json.decode(msgspec.json.encode(status), type=DaemonStatus) == status


async def test_sinks_and_feeds_tell_what_waits_and_what_is_lost(tmp_path: Path) -> None:
    daemon = daemon_of(tmp_path)
    (tmp_path / "data").write_text("")  # no directory: nothing can be written there
    with pytest.raises(ConfigError):
        await daemon.outputs.start([files.SINK.configured(path=tmp_path / "data")])
    path = tmp_path / "files"
    await daemon.outputs.start(
        [files.SINK.configured(path=path), feed_sink.SINK.configured(listen=[f"unix:{tmp_path}/f.sock"])]
    )
    daemon.bus.publish([Trade(exchange="toy", raw_symbol="A", price="1", size="1", ts_recv=1)])
    found = await gather(daemon, StatusQuery())
    (sink,), (feed,) = found.sinks, found.feeds
    assert (sink.name, sink.failing, sink.held, sink.dropped) == (f"files {path}", None, 1, 0)
    assert (feed.subscribers, feed.topics, feed.missed) == ([], 1, 0)
    await daemon.outputs.stop(5.0)
