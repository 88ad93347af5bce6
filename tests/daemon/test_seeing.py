"""What an operator is told when something is wrong: one topic stands still, one exchange is gone, one has changed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec import structs

from aggregator.bus.selection import parse_pattern
from aggregator.cli.run import read_config
from aggregator.cli.sandbox import write_config
from aggregator.cli.top_rows import as_json
from aggregator.daemon.daemon import Daemon
from aggregator.daemon.explain import Explanation, explain
from aggregator.daemon.metrics import measures
from aggregator.daemon.status import StatusQuery, gather
from aggregator.daemon.tap import NothingToTap, Tap
from aggregator.ingest import drift
from aggregator.sandbox.server import Sandbox
from aggregator.sandbox.settings import SandboxSettings
from aggregator.simulation import Change, Deal, Market, Said

pytestmark = pytest.mark.waits

MINUTE_S = 60.0
LEARN_S = 3.0
IDS = ("binance", "kraken", "okx")


class Wrong:
    """A sandbox whose exchanges go wrong when a test says so, and the daemon on them."""

    def __init__(self, sandbox: Sandbox, daemon: Daemon, base: str) -> None:
        self.sandbox = sandbox
        self.daemon = daemon
        self.http = aiohttp.ClientSession(base)
        self.has_changed = False
        for id in ("okx", "kraken"):
            served = sandbox.simulated[id]
            changed = structs.replace(served.simulation, say=self._saying(id, served.simulation.say))
            served.simulation = changed

    def _saying(self, id: str, say: Callable[..., Iterable[Said]]) -> Callable[..., Iterable[Said]]:
        def said(event: Change | Deal | None, market: Market, wanted: set[str], now: int) -> Iterable[Said]:
            for each in say(event, market, wanted, now):
                yield from self._changed(id, each) if self.has_changed else (each,)

        return said

    def _changed(self, id: str, said: Said) -> Iterable[Said]:
        """OKX calls `px` `price`, and sends a channel that nobody has asked for; Kraken's trades of BTC stand still."""
        if id == "okx" and said.channel == "trades":
            yield structs.replace(said, frame=said.frame.replace(b'"px"', b'"price"'))
            yield structs.replace(said, frame=b'{"arg":{"channel":"wibble","instId":"BTC-USDT"},"data":[{"a":"1"}]}')
        elif not (id == "kraken" and said.channel == "trades" and said.raw_symbol == "BTC/USD"):
            yield said

    def go_wrong(self) -> None:
        """Begin with all of it; Binance hangs up and lets nobody in."""
        self.has_changed = True
        self.sandbox.simulated["binance"].refuse_until = float("inf")
        for client in list(self.sandbox.clients.values()):
            if client.faults.exchange == "binance":
                client.cut()

    async def ready(self, topics: str = "") -> tuple[int, dict[str, Any]]:
        async with self.http.get(f"/readyz{topics}") as answer:
            return answer.status, json.loads(await answer.read())

    async def explained(self, topic: str) -> Explanation:
        (found,) = await explain(self.daemon, parse_pattern(topic), topic)
        return found

    async def metrics(self) -> dict[tuple[str, ...], float]:
        status = await gather(self.daemon, StatusQuery())
        found = measures(status, self.daemon.attention.tally)
        return {(each.name, *labels): value for each in found for labels, value in each.samples}

    def findings(self) -> set[tuple[str, str | None]]:
        status = self.daemon.attention.status("okx")
        return {(each.what, each.field) for each in (status.findings if status else ())}


@pytest.fixture
async def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wrong]:
    monkeypatch.setattr(drift, "LEARN_NS", int(LEARN_S * 1e9))
    monkeypatch.setattr(drift, "SEEN", 2)
    async with Sandbox(SandboxSettings(simulate=IDS, rate=400)) as sandbox:
        path = tmp_path / "a.toml"
        feed = '[feed]\nlisten = ["http:127.0.0.1:0"]\n'
        path.write_text(f'state = "{tmp_path}/state"\ncontrol = "none"\n' + write_config(sandbox, feed))
        daemon = Daemon(read_config(path))
        running = asyncio.create_task(daemon.run())
        try:
            async with asyncio.timeout(MINUTE_S):
                while not daemon.outputs.feed_status():  # noqa: ASYNC110 - a daemon tells nobody that its sinks stand
                    await asyncio.sleep(0.05)
            (status,) = daemon.outputs.feed_status()
            found = Wrong(sandbox, daemon, status.listen[0].replace("http:", "http://"))
            try:
                yield found
            finally:
                await found.http.close()
        finally:
            daemon.stop()
            await running


async def until(condition: Callable[[], Any], what: str) -> None:
    """Wait until something is true, a minute at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(MINUTE_S):
            while not await condition():  # noqa: ASYNC110 - it is asked as an operator asks
                await asyncio.sleep(0.2)
            return
    pytest.fail(what)


@pytest.mark.timeout(240)
async def test_each_of_three_faults_is_told_by_name_within_a_minute(wrong: Wrong) -> None:
    async def is_fresh() -> bool:
        status, said = await wrong.ready("?topic=*:*:*")
        kinds = {id: ear.drift.normal.kinds for id, ear in wrong.daemon.attention.ears.items()}
        trades = [kind.seen for name, kind in kinds.get("okx", {}).items() if "trades" in kind.channels]
        learning = [ear.drift.normal.began for ear in wrong.daemon.attention.ears.values()]
        return status == 200 and said["stale"] == 0 and sum(trades) > 3 and len(learning) == len(IDS)

    await until(is_fresh, "all topics are fresh, and OKX's trades are known")
    await asyncio.sleep(LEARN_S)
    assert wrong.findings() == set()
    assert (await wrong.ready())[0] == 200
    wrong.go_wrong()

    async def has_drift() -> bool:
        wanted = {("missing field", "data[].px"), ("new field", "data[].price"), ("unknown frame", None)}
        return wanted | {("unread frame", None)} <= wrong.findings()

    async def is_gone() -> bool:
        status, said = await wrong.ready()
        return status == 503 and any(reason.startswith("binance: none of its") for reason in said["reasons"])

    async def stands_still() -> bool:
        _, said = await wrong.ready("?topic=trades:kraken:BTC/USD")
        return bool(said["stale"])

    await until(has_drift, "drift by the names of both fields, and the channel that nobody knows")
    await until(is_gone, "an exchange that is gone")
    await until(stands_still, "a topic that stands still")

    okx = await wrong.explained("trades:okx:BTC/USDT")
    text = "\n".join(okx.steps)
    assert "`data[].px` is missing from frames of trades (trades), which all had it before" in text
    assert "`data[].price` is new in frames of trades (trades)" in text
    assert okx.advice[0].startswith("its frames are not as they were")
    findings = {id: ear.drift.findings.values() for id, ear in wrong.daemon.attention.ears.items()}
    assert [each.kind for each in findings["okx"] if each.what == "unknown frame"] == ["wibble"]
    assert [list(findings["kraken"]), list(findings["binance"])] == [[], []]

    binance = await wrong.explained("trades:binance:BTC/USDT")
    assert binance.state != "live"
    assert "aggregator doctor" in binance.advice[-1]
    assert any("ended" in step or "disconnect" in step for step in binance.steps), binance.steps

    kraken = await wrong.explained("trades:kraken:BTC/USD")
    assert kraken.state in {"stalled", "subscribing", "syncing", "down"}, kraken
    assert any("stalled" in step for step in kraken.steps), kraken.steps
    assert not any("is missing from" in step for step in kraken.steps)

    top = as_json(await gather(wrong.daemon, StatusQuery(is_troubled=True, most=1000)))
    rows = {row["exchange"]: row for row in top["exchanges"]}
    assert (rows["binance"]["fresh"], rows["kraken"]["fresh"] > 0, rows["okx"]["drift"] >= 4) == (0, True, True)
    assert "trades:kraken:BTC/USD" in {row["topic"] for row in top["topics"]}

    found = await wrong.metrics()
    for what in ("new field", "missing field", "unknown frame", "unread frame"):
        assert found["aggregator_drift_total", "okx", what] >= 1
        assert found["aggregator_drift_total", "kraken", what] == 0
    assert found["aggregator_connections", "binance"] == 0
    assert sum(found.get(("aggregator_topics", "binance", "trades", state), 0) for state in ("live", "quiet")) == 0
    assert found["aggregator_topics", "kraken", "book", "live"] == 4
    assert found["aggregator_unread_frames_total", "okx"] > 0
    assert found["aggregator_gaps_total", "binance", "trades", "disconnect"] >= 4


async def test_topics_that_nobody_asks_for_are_explained_too(wrong: Wrong) -> None:
    async def runs() -> bool:
        return len(wrong.daemon.exchanges.followed) == len(IDS)

    await until(runs, "all exchanges")
    cases: Mapping[str, str] = {
        "trades:okx:BTC/USDTT": "did you mean BTC/USDT?",
        "trades:okx:ABCXYZ": "`aggregator symbols okx` names them",
        "funding:okx:BTC/USDT": "add it to `channels` of okx",
        "trades:gate:BTC/USDT": (
            "add it to the configuration, as [[exchanges]]; `aggregator exchanges` names all that are known"
        ),
    }
    for topic, advice in cases.items():
        found = await wrong.explained(topic)
        assert (found.topic, found.state, found.advice) == (topic, "unknown", [advice])


async def test_a_tap_shows_frames_and_their_records_and_nothing_of_others(wrong: Wrong) -> None:
    async def runs() -> bool:
        return (await wrong.ready("?topic=trades:*:*"))[0] == 200

    await until(runs, "trades")
    told = [each async for each in Tap(wrong.daemon, parse_pattern("trades:kraken:BTC/USD")).frames(20, 3)]
    assert len(told) == 3
    for each in told:
        sent, (record,) = json.loads(each.frame), each.records
        assert sent["channel"] == "trade"
        assert json.loads(bytes(record))["symbol"] == sent["data"][0]["symbol"] == "BTC/USD"
    assert all(not ear.taps for ear in wrong.daemon.attention.ears.values())
    with pytest.raises(NothingToTap, match="there are: "):
        Tap(wrong.daemon, parse_pattern("trades:gate:*"))
