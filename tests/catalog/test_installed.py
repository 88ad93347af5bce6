"""An exchange of another distribution: `examples/exchange`, installed as anybody would, and run."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from aiohttp import web

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 40.0  # seconds; nothing here takes nearly as long
INSTALL = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--target"]
MARKETS = [{"symbol": "PEB-USD", "base": "PEB", "quote": "USD", "tick": "0.01", "lot": "0.1"}]
TRADE = {"ch": "trade", "sym": "PEB-USD", "id": 7, "px": "1.10", "qty": "2", "side": "sell", "t": 1700000000123}
DEPTH = {"ch": "depth", "sym": "PEB-USD", "seq": 4, "bids": [["1.09", "3"]], "asks": [["1.11", "5"]], "whole": True}
BEST = {"ch": "best", "sym": "PEB-USD", "bid": "1.09", "bid_qty": "3", "ask": "1.11", "ask_qty": "5"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the example is installed."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", *INSTALL, str(folder), str(ROOT / "examples/exchange")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def environment(site: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(site)))}


def aggregator(site: Path, *words: str) -> str:
    command = [sys.executable, "-m", "aggregator", *words]
    done = subprocess.run(command, env=environment(site), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_listed(site: Path) -> None:
    rows = [line.split("\t") for line in aggregator(site, "exchanges").splitlines()]
    assert [(row[0], row[-1]) for row in rows if row[0] == "pebble"] == [("pebble", "yes")]
    known = {one["id"]: one for one in json.loads(aggregator(site, "exchanges", "--json"))}
    assert known["pebble"]["connector"]
    assert known["pebble"]["channels"] == ["trades", "book", "bbo"]


def test_the_pages_do_not_know_it(site: Path) -> None:
    assert "pebble" not in aggregator(site, "exchanges", "--markdown")


def test_a_frame_of_it_can_be_read(site: Path, tmp_path: Path) -> None:
    capture = tmp_path / "frames.jsonl"
    capture.write_text(json.dumps({"ts": "1.0", "dir": "in", "raw": json.dumps(TRADE)}) + "\n")
    said = aggregator(site, "normalize", "--exchange", "pebble", "--parse-only", str(capture))
    assert [json.loads(line)["price"] for line in said.splitlines()] == ["1.10"]


async def answer(request: web.Request) -> web.StreamResponse:
    """The exchange itself: its list, and on a socket an answer to each topic and what it says."""
    if "Upgrade" not in request.headers:
        return web.json_response({"code": 0, "data": MARKETS})
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        for topic in json.loads(message.data).get("topics", ()):
            await socket.send_json({"ch": "answer", "topic": topic})
            await socket.send_json({"trade": TRADE, "depth": DEPTH, "best": BEST}[topic.partition(".")[0]])
    return socket


async def test_a_daemon_runs_on_it(site: Path, tmp_path: Path) -> None:
    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    here = f"127.0.0.1:{runner.addresses[0][1]}"
    config = tmp_path / "pebble.toml"
    config.write_text(
        f"""
state = "{tmp_path / "state"}"

[[exchanges]]
id = "pebble"
channels = ["trades", "book", "bbo"]
symbols = ["*"]
[exchanges.endpoints]
"wss://stream.pebble.example" = "ws://{here}"
"https://api.pebble.example" = "http://{here}"

[[sinks]]
type = "stdout"
"""
    )
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aggregator", "run", "--config", str(config),
        env=environment(site), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            said = await heard(daemon, {"trade", "book_snapshot", "bbo"})
    finally:
        daemon.terminate()
        await daemon.communicate()
        await runner.cleanup()
    assert daemon.returncode == 0
    assert {record["symbol"] for record in said} == {"PEB/USD"}
    assert [r["price"] for r in said if r["type"] == "trade"] == ["1.10"]
    assert [r["ask_price"] for r in said if r["type"] == "bbo"] == ["1.11"]


async def heard(daemon: asyncio.subprocess.Process, kinds: Iterable[str]) -> list[dict[str, str]]:
    """What the daemon says until it has said something of each kind."""
    missing, found = set(kinds), []
    assert daemon.stdout is not None
    while missing:
        line = await daemon.stdout.readline()
        assert line, "the daemon has ended"
        record = json.loads(line)
        if record["type"] in missing:
            missing.discard(record["type"])
            found.append(record)
    return found
