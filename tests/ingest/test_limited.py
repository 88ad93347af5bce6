"""Exchanges that limit, refuse and err in ways of their own: their connectors on a fake of each, through the runner."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web

from aggregator.bus.bus import Bus
from aggregator.catalog.registry import load_exchange
from aggregator.exchange import Exchange, Request
from aggregator.ingest.listing import Listed, Markets, fetch_listing
from aggregator.ingest.network import Internet
from aggregator.ingest.rest import Need, Rest
from aggregator.ingest.runner import ExchangeRunner
from aggregator.records import Instrument
from tests.support.toy import PATIENCE

pytestmark = pytest.mark.waits

FRAMES = Path(__file__).parents[1] / "frames"
WS, REST = "wss://ws.poloniex.com", "https://api.poloniex.com"


def exchange_of(id: str) -> Exchange:
    found = load_exchange(id)
    assert found is not None
    return found


def listings(id: str) -> list[bytes]:
    """The answers of a listing that the tests of frames hold."""
    cases = map(json.loads, (FRAMES / f"{id}.jsonl").read_text().splitlines())
    return [
        case["body"].encode() for case in cases if case.get("rest") == "listing" and "error" not in str(case["gives"])
    ]


class Fake:
    """Poloniex as it answers: subscriptions by channel and symbols, and errors that name neither."""

    def __init__(self) -> None:
        self.dialled: list[float] = []
        self.retry_after: str | None = None  # how the next handshake is refused
        self.unknown: set[str] = set()
        self.bodies: dict[str, bytes] = {}

    async def socket(self, request: web.Request) -> web.StreamResponse:
        self.dialled.append(time.monotonic())
        after, self.retry_after = self.retry_after, None
        if after is not None:
            return web.Response(status=429, headers={"Retry-After": after})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            asked = json.loads(message.data)
            if asked["event"] != "subscribe":
                continue
            is_wrong = self.unknown & set(asked["symbols"])
            (channel,) = asked["channel"]
            said = {"event": "subscribe", "channel": channel, "symbols": asked["symbols"]}
            await socket.send_json({"event": "error", "message": "no valid symbols"} if is_wrong else said)
        return socket

    async def rest(self, request: web.Request) -> web.Response:
        return web.Response(body=self.bodies[request.path])


@asynccontextmanager
async def poloniex(*names: str) -> AsyncIterator[tuple[Fake, ExchangeRunner, Rest]]:
    """The fake, and a runner that follows trades of these markets."""
    fake, app = Fake(), web.Application()
    app.router.add_get("/ws/{tail:.*}", fake.socket)
    app.router.add_get("/{tail:.*}", fake.rest)
    site = web.AppRunner(app, shutdown_timeout=0.1)
    await site.setup()
    await web.TCPSite(site, "127.0.0.1", 0).start()
    port = site.addresses[0][1]
    internet, exchange = (
        Internet({WS: f"ws://127.0.0.1:{port}", REST: f"http://127.0.0.1:{port}"}),
        exchange_of("poloniex"),
    )
    rest = Rest(internet.network(), exchange)
    runner = ExchangeRunner(exchange, ["trades"], ["1m"], network=internet.network(), bus=Bus("test"), rest=rest)
    runner.want([Instrument(raw_symbol=name, symbol=name, kind="spot") for name in names])
    task = asyncio.create_task(runner.run())
    try:
        yield fake, runner, rest
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await internet.close()
        await site.cleanup()


async def until_told(runner: ExchangeRunner, name: str, reason: str | None) -> None:
    """Wait until a market has a subscription, or this reason for none."""
    async with asyncio.timeout(PATIENCE):
        while reason != (why := runner.why_not("trades", name)) and not (reason and why and reason in why):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_handshake_that_is_refused_for_a_while_is_tried_again_after_it(form: str) -> None:
    async with poloniex("BTC_USDT") as (fake, runner, _):
        fake.retry_after = "2" if form == "seconds" else formatdate(time.time() + 3, usegmt=True)
        await until_told(runner, "BTC_USDT", "HTTP 429")
        await until_told(runner, "BTC_USDT", None)
        first, second = fake.dialled
        assert 1.5 < second - first < 6


async def test_the_one_market_is_found_that_a_refusal_without_a_name_means() -> None:
    names = [f"{name}_USDT" for name in "ABCDE"]
    async with poloniex(*names) as (fake, runner, _):
        fake.unknown = {"C_USDT"}
        await until_told(runner, "C_USDT", "refused: no valid symbols")
        for name in sorted(set(names) - fake.unknown):
            await until_told(runner, name, None)
        assert len(fake.dialled) == 1


async def list_with(rest: Rest, exchange: Exchange) -> Listed:
    return await fetch_listing(exchange, lambda request: rest.fetch(request, Need.LISTING), {}, time.time_ns)


async def test_a_part_of_a_listing_whose_error_comes_with_http_200_leaves_its_markets_as_they_were() -> None:
    spot, futures = (body for body in listings("poloniex")[:2])
    async with poloniex() as (fake, _, rest):
        fake.bodies = {"/markets": spot, "/v3/market/allInstruments": futures}
        markets = Markets(await list_with(rest, exchange_of("poloniex")))
        before = {instrument.raw_symbol for instrument in markets.instruments}
        assert any(instrument.kind == "perpetual" for instrument in markets.instruments)
        fake.bodies["/v3/market/allInstruments"] = b'{"code":500,"msg":"Service unavailable","data":null}'
        for _ in range(3):
            listed = await list_with(rest, exchange_of("poloniex"))
            assert any("500: Service unavailable" in warning for warning in listed.warnings)
            assert markets.update(listed) == []
        assert {instrument.raw_symbol for instrument in markets.instruments} == before


async def test_options_of_an_asset_that_nobody_has_heard_of_are_followed_from_the_last_page_too() -> None:
    """Bybit gives the options of all base coins by one request, in pages."""
    exchange = exchange_of("bybit")
    (body,) = [body for body in listings("bybit") if b'"BTC-25DEC26-95000-C-USDT"' in body]
    asked: list[str] = []

    async def answer(request: Request) -> bytes:
        asked.append(request.url)
        if "category=option" not in request.url:
            return b'{"retCode":0,"result":{"list":[]}}'
        if "cursor=" not in request.url:
            return b'{"retCode":0,"result":{"list":[],"nextPageCursor":"next"}}'
        return body.replace(b'"BTC', b'"HYPE')

    listed = await fetch_listing(exchange, answer, {}, time.time_ns)
    assert sum("category=option&baseCoin=All" in url for url in asked) == 2
    internet = Internet()
    runner = ExchangeRunner(exchange, ["trades"], ["1m"], network=internet.network(), bus=Bus("test"))
    runner.want([i for i in listed.instruments if i.base == "HYPE"])
    (shard,) = runner.shards
    assert [s.raw_symbol for s in shard.subscriptions] == ["HYPE-25DEC26-95000-C-USDT"]
    await internet.close()
