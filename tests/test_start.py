"""A daemon whose exchange cannot be started: it tries again and again, and leaves nothing behind."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from msgspec import structs

from aggregator import daemon
from aggregator.config import Config, ExchangeConfig
from aggregator.daemon import Daemon
from aggregator.exchange import Listing, Request
from tests.toy import REST, toy

pytestmark = pytest.mark.waits

FAILURES = 100


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_start_that_fails_again_and_again_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, counts, done = 0, [], asyncio.Event()

    async def listing(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        counts.append((len(asyncio.all_tasks()), descriptors()))
        if asked == FAILURES:
            done.set()
        return web.Response(status=503, text="maintenance")

    app = web.Application()
    app.router.add_get("/{tail:.*}", listing)
    site = web.AppRunner(app, shutdown_timeout=0.1)
    await site.setup()
    await web.TCPSite(site, "127.0.0.1", 0).start()
    exchange = structs.replace(toy(), listing=Listing((Request(f"{REST}/markets"),)))
    monkeypatch.setattr(daemon, "load_exchange", lambda _: exchange)
    monkeypatch.setattr(daemon, "RETRY_LISTING", 0.001)
    monkeypatch.setattr(daemon, "LONGEST_RETRY", 0.001)
    endpoints = {REST: f"http://127.0.0.1:{site.addresses[0][1]}"}
    wanted = ExchangeConfig(id="toy", channels=("trades",), symbols=("*",), endpoints=endpoints)
    config = Config(exchanges=(wanted,), sinks=(), state=tmp_path, log_level="error")
    running = Daemon(config, capture=tmp_path / "captures")
    task = asyncio.create_task(running.run())
    await done.wait()
    running.stop()
    await task
    await site.cleanup()
    tasks, files = zip(*counts[5:], strict=True)
    assert max(tasks) - min(tasks) <= 2
    assert max(files) - min(files) <= 2
