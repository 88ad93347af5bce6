"""A configuration that changes while the daemon runs, pauses, topics by hand: what changes, and what does not."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from aggregator.catalog.registry import known_channels
from aggregator.config.config import load_config
from aggregator.daemon.daemon import Daemon
from aggregator.daemon.status import ExchangeStatus, StatusQuery, gather
from aggregator.errors import AggregatorError
from aggregator.records import Gap, Health, Record, Trade
from aggregator.sandbox.server import Sandbox
from aggregator.sandbox.settings import SandboxSettings
from tests.daemon.test_daemon import WORKERS
from tests.support.reloads import reload_at_random

pytestmark = pytest.mark.waits

PATIENCE = 30.0 if WORKERS == 1 else 120.0
FIRST = {
    "binance": {"channels": ["trades"], "symbols": ["BTC/USDT"]},
    "kraken": {"channels": ["trades"], "symbols": ["*"]},
}


class Scene:
    """A daemon on simulated exchanges, and everything that it has published."""

    def __init__(self, home: Path, sandbox: Sandbox) -> None:
        self.home = home
        self.sandbox = sandbox
        self.records: list[Record] = []
        self.write(FIRST)
        self.daemon = Daemon(self.read(), reread=lambda _: self.read())
        self.daemon.bus.attach(lambda batch: self.records.extend(batch.records))

    @property
    def path(self) -> Path:
        return self.home / "aggregator.toml"

    def read(self) -> Any:
        return load_config(self.path, known_channels=known_channels)

    def write(self, exchanges: dict[str, dict[str, Any]], more: str = "", ring: int = 100, before: str = "") -> None:
        """Write another configuration."""
        text = f'{before}state = "{self.home}/state"\ncontrol = "none"\nworkers = {WORKERS}\n'
        for id, keys in exchanges.items():
            shown = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
            endpoints = "\n".join(f'"{real}" = "{here}"' for real, here in self.sandbox.endpoints(id).items())
            text += f'[[exchanges]]\nid = "{id}"\n{shown}[exchanges.endpoints]\n{endpoints}\n'
        self.path.write_text(f'{text}{more}\n[feed]\nlisten = ["unix:{self.home}/feed.sock"]\nring = {ring}\n')

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to become true."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.01)

    async def trades_of(self, *places: tuple[str, str]) -> None:
        """Wait for more trades of each of these markets."""
        seen = len(self.records)
        await self.until(
            lambda: set(places) <= {(r.exchange, r.symbol) for r in self.records[seen:] if type(r) is Trade}
        )

    async def topics(self) -> set[str]:
        """What is followed now."""
        status = await gather(self.daemon, StatusQuery(most=1000))
        return {f"{topic.channel}:{topic.exchange}:{topic.symbol}" for topic in status.topics}

    async def exchanges(self) -> dict[str, ExchangeStatus]:
        """How each exchange fares."""
        return {each.id: each for each in (await gather(self.daemon, StatusQuery())).exchanges}

    async def attempts(self, *ids: str) -> list[int]:
        """How often each of these exchanges was connected."""
        found = await self.exchanges()
        return [sum(shard.attempts for shard in found[id].shards) for id in ids]

    def of(self, kind: type[Record], exchange: str) -> list[Any]:
        return [record for record in self.records if type(record) is kind and record.exchange == exchange]


@asynccontextmanager
async def scene(home: Path) -> AsyncIterator[Scene]:
    async with Sandbox(SandboxSettings(simulate=("binance", "kraken", "okx"), rate=300.0, port=0)) as sandbox:
        found = Scene(home, sandbox)
        task = asyncio.create_task(found.daemon.run())
        try:
            await found.trades_of(("binance", "BTC/USDT"), ("kraken", "BTC/USD"))
            yield found
        finally:
            found.daemon.stop()
            with suppress(TimeoutError):
                await asyncio.wait_for(task, PATIENCE)


async def test_another_list_of_symbols_and_channels_is_asked_for_on_the_line_that_there_is(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        it.write(FIRST | {"binance": {"channels": ["trades", "ticker"], "symbols": ["BTC/USDT", "ETH/USDT"]}})
        assert await it.daemon.changes.reload() == ["binance: other channels, symbols"]
        await it.trades_of(("binance", "BTC/USDT"), ("binance", "ETH/USDT"))
        binance = {topic for topic in await it.topics() if ":binance:" in topic}
        assert binance == {f"{c}:binance:{s}/USDT" for c in ("trades", "ticker") for s in ("BTC", "ETH")}
        it.write(FIRST)
        await it.daemon.changes.reload()
        assert {topic for topic in await it.topics() if ":binance:" in topic} == {"trades:binance:BTC/USDT"}
        told = [
            (h.symbol, h.channel, h.state) for h in it.of(Health, "binance") if h.reason and "asked for" in h.reason
        ]
        assert {("ETH/USDT", "trades", "down"), ("BTC/USDT", "ticker", "down")} <= set(told)
        assert await it.attempts("binance", "kraken") == [1, 1]
        assert it.of(Gap, "binance") == it.of(Gap, "kraken") == []


async def test_an_exchange_comes_and_goes_alone_and_instruments_with_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        it.write(FIRST | {"okx": {"channels": ["trades"], "symbols": ["BTC/USDT"]}})
        assert await it.daemon.changes.reload() == ["okx: new"]
        await it.trades_of(("okx", "BTC/USDT"))
        it.write(FIRST)
        assert await it.daemon.changes.reload() == ["okx: gone"]
        assert "okx" not in await it.exchanges()
        assert not [key for key in it.daemon.bus.instruments if key[0] == "okx"]
        assert [h.state for h in it.of(Health, "okx")][-1] == "down"
        assert [gap.phase for gap in it.of(Gap, "okx")] in ([], ["open", "close"])
        assert await it.attempts("binance", "kraken") == [1, 1]


async def test_an_exchange_of_which_something_else_is_different_is_begun_anew_alone(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        it.write(FIRST | {"binance": FIRST["binance"] | {"verify": "off"}})
        assert await it.daemon.changes.reload() == ["binance: other verify"]
        await it.until(lambda: len(it.of(Gap, "binance")) > 1)
        assert [(gap.phase, gap.cause) for gap in it.of(Gap, "binance")] == [("open", "restart"), ("close", "restart")]
        await it.trades_of(("binance", "BTC/USDT"), ("kraken", "BTC/USD"))
        assert it.of(Gap, "kraken") == []


async def test_a_bad_file_changes_nothing_and_every_mistake_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene(tmp_path) as it:
        before = await it.topics()
        it.write(
            {"binance": {"channels": ["trade"], "symbols": []}, "kraken": {"channels": ["trades"], "symbols": ["*"]}}
        )
        with pytest.raises(AggregatorError) as caught:
            await it.daemon.changes.reload()
        said = str(caught.value).splitlines()
        assert [line.partition(": ")[2].partition(":")[0] for line in said] == [
            "exchanges[0].channels[0]",
            "exchanges[0].symbols",
        ]
        assert all(line in caplog.text for line in said)
        it.write(FIRST, ring=200)
        with pytest.raises(AggregatorError, match=r"feed\.ring cannot change while the daemon runs: restart it"):
            await it.daemon.changes.reload()
        assert await it.topics() == before
        assert await it.attempts("binance", "kraken") == [1, 1]


async def test_a_change_that_fails_half_way_is_undone(tmp_path: Path) -> None:
    """What fails comes last here: the new sink and the new topics before it are taken back."""
    async with scene(tmp_path) as it:
        before, files = await it.topics(), f'[[sinks]]\ntype = "files"\npath = "{tmp_path}/files"\n'
        it.write(FIRST | {"binance": {"channels": ["trades"], "symbols": ["*"]}}, files)
        follow = it.daemon.exchanges.change

        async def fails(config: Any) -> None:
            await follow(config)
            if config.symbols == ("*",):
                raise OSError("the disk is gone")

        it.daemon.exchanges.change = fails  # type: ignore[method-assign]
        with pytest.raises(AggregatorError, match="binance: other symbols: the disk is gone; all is as it was before"):
            await it.daemon.changes.reload()
        assert [sink.name for sink in it.daemon.outputs.sinks] == ["feed"]
        it.daemon.exchanges.change = follow  # type: ignore[method-assign]
        it.write(FIRST | {"okx": {"channels": ["trades"], "symbols": ["*"], "on_start_error": "fail"}}, files)
        it.sandbox.simulated["okx"].answer = lambda *_, **__: (500, b"sorry")  # type: ignore[method-assign]
        with pytest.raises(AggregatorError, match="okx cannot be begun, and its on_start_error is fail"):
            await it.daemon.changes.reload()
        assert [sink.name for sink in it.daemon.outputs.sinks] == ["feed"]
        assert list(it.daemon.exchanges.configs) == ["binance", "kraken"]
        assert before <= await it.topics()


async def test_a_pause_leaves_gaps_that_say_so_and_that_close_when_it_goes_on(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        changes = it.daemon.changes
        assert await changes.pause("binance") == 1
        (gap,) = it.of(Gap, "binance")
        assert (gap.phase, gap.cause, gap.channel, gap.symbol) == ("open", "paused", "trades", "BTC/USDT")
        paused, _ = (await gather(it.daemon, StatusQuery())).exchanges
        assert (paused.state, paused.gaps, [(each.channel, each.gaps) for each in paused.channels]) == (
            "paused",
            1,
            [("trades", {"paused": 1})],
        )
        await it.trades_of(("kraken", "BTC/USD"))
        for act in (changes.pause("binance"), changes.resume("kraken"), changes.pause("krakn")):
            with pytest.raises(AggregatorError):
                await act
        it.write(FIRST | {"binance": {"channels": ["trades"], "symbols": ["BTC/USDT", "ETH/USDT"]}})
        await changes.reload()
        assert (await it.exchanges())["binance"].state == "paused", "a reload does not end a pause"
        await changes.resume("binance")
        await it.trades_of(("binance", "BTC/USDT"), ("binance", "ETH/USDT"))
        await it.until(lambda: len(it.of(Gap, "binance")) > 1)
        opened, closed = it.of(Gap, "binance")
        assert (opened.gap_id, closed.phase, closed.cause) == (closed.gap_id, "close", "paused")


async def test_the_gaps_of_an_exchange_that_is_down_are_told(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.trades_of(("binance", "BTC/USDT"))
        it.sandbox.simulated["binance"].refuse_until = float("inf")
        for client in list(it.sandbox.clients.values()):
            if client.faults.exchange == "binance":
                client.cut()
        await it.until(lambda: it.of(Gap, "binance"))
        query = StatusQuery(most=10)
        for _ in range(20):  # between two connections, and while one is being made
            status = await gather(it.daemon, query)
            down = next(each for each in status.exchanges if each.id == "binance")
            (topic,) = [each for each in status.topics if each.exchange == "binance"]
            assert (down.gaps, topic.gap, topic.state) == (1, "disconnect", "down")
            await asyncio.sleep(0.05)


async def test_what_another_configuration_requires_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene(tmp_path) as it:
        caplog.set_level("INFO")
        two = FIRST | {"binance": {"channels": ["trades"], "symbols": ["BTC/USDT", "ETH/USDT"]}}
        it.write(two, before='required = ["trades:binance:*"]\n')
        assert "other required topics" in await it.daemon.changes.reload()
        assert "ready: what is required is live" in caplog.text
        it.write(two, before='required = ["trades:binance:NONE/USDT"]\nstart_grace = "100ms"\n')
        await it.daemon.changes.reload()
        assert "ready without what is required after 0.1 s: trades:binance:NONE/USDT (no such topic)" in caplog.text
        caplog.clear()
        it.write(FIRST, before='required = ["trades:binance:NONE/USDT"]\nstart_grace = "100ms"\n')
        await it.daemon.changes.reload()
        assert "required" not in caplog.text


async def test_topics_are_followed_and_left_out_by_hand(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        changes = it.daemon.changes
        assert await changes.say("trades:binance:ETH/USDT", is_wanted=True) == 2
        await it.trades_of(("binance", "ETH/USDT"))
        assert await changes.say("trades:kraken:*", is_wanted=False) == 0
        assert {topic for topic in await it.topics() if "kraken" in topic} == set()
        assert await changes.say("trades:kraken:BTC/USD", is_wanted=True) == 1
        it.write(FIRST | {"binance": {"channels": ["ticker"], "symbols": ["BTC/USDT"]}})
        await changes.reload()
        assert await it.topics() == {"ticker:binance:BTC/USDT", "trades:binance:ETH/USDT", "trades:kraken:BTC/USD"}
        status = (await it.exchanges())["kraken"].followed
        assert status is not None
        assert (status.subscribed, status.unsubscribed) == (["trades:kraken:BTC/USD"], ["trades:kraken:*"])
        for topic in ("trades:binance:NONE/USDT", "trades:*:BTC/USD", "options:kraken:*", "nonsense"):
            with pytest.raises(AggregatorError):
                await changes.say(topic, is_wanted=True)


async def test_a_subscriber_is_told_what_is_gone_and_has_it_when_it_is_back(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "feed.sock")
        writer.write(b"trades:okx:BTC/USDT\n")
        heard: list[dict[str, Any]] = []

        async def listen() -> None:
            while line := await reader.readline():
                heard.append(json.loads(line))

        listening = asyncio.create_task(listen())
        okx = {"okx": {"channels": ["trades"], "symbols": ["BTC/USDT"], "on_demand": True, "linger": 0}}
        it.write(FIRST | okx)
        await it.daemon.changes.reload()
        await it.until(lambda: any(row.get("type") == "trade" for row in heard))
        it.write(FIRST)
        await it.daemon.changes.reload()
        await it.until(lambda: "okx is not among the exchanges of the configuration" in json.dumps(heard))
        seen = len(heard)
        it.write(FIRST | okx)
        await it.daemon.changes.reload()
        await it.until(lambda: any(row.get("type") == "trade" for row in heard[seen:]))
        writer.close()
        await listening


@pytest.mark.timeout(240)
async def test_random_reloads_lose_nothing_of_what_stays(tmp_path: Path) -> None:
    """`python -m tests.support.reloads` does so a hundred times under more load."""
    found = await reload_at_random(tmp_path, random.Random(3), 10, 500, WORKERS)
    assert found.faults == []
    assert min(found.counts[kind] for kind in ("good", "bad", "failing", "trades")) > 0
