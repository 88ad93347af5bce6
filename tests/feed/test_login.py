"""Logins of browsers, requests of other sites' pages, and how the daemon is."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aggregator.bus.bus import Bus
from aggregator.feed import access as access_module
from aggregator.feed.access import Token, hash_of
from aggregator.feed.address import parse_address
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.feed.transports import http, logins
from tests.feed.test_feed import PATIENCE, eventually, trade
from tests.support.proxy_servers import certificate

pytestmark = pytest.mark.waits

TOKEN = "a" * 43
KNOWN = (Token("desk", hash_of(TOKEN), ("trades:alpha:*",)),)
SITE = "https://charts.example"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "FIRST_PAUSE_S", 0.05)


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[Bus, FeedServer, aiohttp.ClientSession]]:
    """A feed with tokens, and a browser that keeps its cookies."""
    bus = Bus("epoch")
    given = {"tokens": KNOWN, "origins": (SITE,), **settings}
    server = FeedServer(FeedSettings(listen=(parse_address("http:127.0.0.1:0"),), **given), bus)
    await server.start()
    bus.attach(server.publish)
    bus.publish([trade()])
    scheme = "https://localhost" if "tls_certificate" in settings else "http://127.0.0.1"
    base = f"{scheme}:{server.addresses[0].rpartition(':')[2]}"
    connector = aiohttp.TCPConnector(ssl=False)
    jar = aiohttp.CookieJar(unsafe=True)
    timeout = aiohttp.ClientTimeout(PATIENCE)
    try:
        async with aiohttp.ClientSession(base, timeout=timeout, cookie_jar=jar, connector=connector) as browser:
            yield bus, server, browser
    finally:
        bus.detach(server.publish)
        await server.stop(0)


async def log_in(browser: aiohttp.ClientSession, token: str = TOKEN) -> aiohttp.ClientResponse:
    async with browser.post("/login", json={"token": token}) as response:
        await response.read()
        return response


async def status(browser: aiohttp.ClientSession, path: str = "/topics", **headers: str) -> int:
    async with browser.get(path, headers=headers) as response:
        return response.status


def ours(browser: aiohttp.ClientSession) -> str:
    """The origin of the feed's own pages."""
    return str(browser._base_url_origin)


async def test_a_cookie_stands_for_the_token() -> None:
    async with serving() as (_, server, browser):
        assert await status(browser) == 401
        response = await log_in(browser)
        said = await response.json()
        assert said == {"type": "authenticated", "name": "desk", "topics": ["trades:alpha:*"], "id": None}
        cookie = response.headers["Set-Cookie"]
        assert cookie.startswith(f"aggregator-{server.addresses[0].rpartition(':')[2]}=")
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Path=/" in cookie
        assert "Max-Age=43200" in cookie
        assert "Secure" not in cookie
        assert "Domain" not in cookie
        assert TOKEN not in cookie
        assert await status(browser) == 200
        assert await status(browser, "/topics?topic=book:alpha:BTC/USD") == 400, "the token allows no more by a cookie"


async def test_with_tls_the_cookie_goes_by_tls_alone(tmp_path: Path) -> None:
    certificate(tmp_path)
    files = {"tls_certificate": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    async with serving(**files) as (_, _, browser):
        cookie = (await log_in(browser)).headers["Set-Cookie"]
        assert cookie.startswith("__Host-aggregator-")
        assert "Secure" in cookie
        assert await status(browser) == 200


async def test_wrong_tokens_wait_longer_and_longer() -> None:
    async with serving() as (_, _, browser):
        took = []
        for _ in range(4):
            began = time.monotonic()
            response = await log_in(browser, "wrong")
            took.append(time.monotonic() - began)
            assert (response.status, "Set-Cookie" in response.headers) == (401, False)
        assert took[0] >= 0.04
        assert took[3] >= 0.39


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b'{"token":"x"}', "text/plain", "post JSON"),
        (b"token=x", "application/x-www-form-urlencoded", "post JSON"),
        (b"{", "application/json", 'post {"token":"TOKEN"}'),
        (b"[" * 4000, "application/json", 'post {"token":"TOKEN"}'),
        (b'{"token":1}', "application/json", "Expected `str`"),
        (b'{"token":"\xff"}', "application/json", 'post {"token":"TOKEN"}'),
        (b'{"token":"x","key":1}', "application/json", "unknown field `key`"),
        (b'{"token":"' + b"x" * 5000 + b'"}', "application/json", "at most 4096 bytes"),
    ],
)
async def test_what_is_no_login(body: bytes, kind: str, text: str) -> None:
    async with (
        serving() as (_, _, browser),
        browser.post("/login", data=body, headers={"Content-Type": kind}) as response,
    ):
        assert (response.status, text in (await response.json())["error"]) == (400, True)


async def test_a_login_that_does_not_come_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEAD_S", 0.1)

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"token":'
        await asyncio.sleep(1)

    async with (
        serving() as (_, _, browser),
        browser.post("/login", data=slowly(), headers={"Content-Type": "application/json"}) as response,
    ):
        assert (response.status, (await response.json())["error"]) == (400, "the body did not come in time")


async def test_where_there_are_no_tokens_nobody_logs_in() -> None:
    async with serving(tokens=()) as (_, _, browser):
        assert (await log_in(browser)).status == 400


async def test_a_websocket_by_the_cookie_is_one_of_our_pages() -> None:
    async with serving() as (_, _, browser):
        await log_in(browser)
        for origin in (ours(browser), SITE):
            async with browser.ws_connect("/feed", origin=origin) as feed:
                assert (await feed.receive_json())["type"] == "hello"
        async with browser.ws_connect("/feed") as feed:  # no browser: it shows a token
            await feed.send_str('{"op":"ping"}')
            assert "a token is needed first" in (await feed.receive_json())["error"]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await browser.ws_connect("/feed", origin="https://evil.example")
        assert refused.value.status == 403


@pytest.mark.parametrize(
    ("site", "expected"),
    [("same-origin", 200), ("none", 200), ("same-site", 401), ("cross-site", 401)],
)
async def test_an_image_of_another_page_has_nothing_by_the_cookie(site: str, expected: int) -> None:
    async with serving() as (_, _, browser):
        await log_in(browser)
        assert await status(browser, **{"Sec-Fetch-Site": site}) == expected


async def test_who_logs_out_is_hung_up_on() -> None:
    async with serving() as (_, server, browser):
        await log_in(browser)
        kept = {cookie.key: cookie.value for cookie in browser.cookie_jar}
        async with browser.ws_connect("/feed", origin=ours(browser)) as feed:
            await feed.receive_json()
            async with browser.post("/logout", headers={"Origin": ours(browser)}) as response:
                assert (response.status, await response.json()) == (
                    200,
                    {"type": "bye", "reason": "logged out", "id": None},
                )
                assert "Max-Age=0" in response.headers["Set-Cookie"]
            assert await feed.receive_json() == {"type": "bye", "reason": "logged out", "id": None}
        assert await status(browser) == 401
        browser.cookie_jar.update_cookies(kept)
        assert await status(browser) == 401, "the cookie is worth nothing any more, whoever has it"
        await eventually(lambda: not server.status().subscribers)


async def test_a_login_ends_and_so_do_its_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "LOGIN_S", 0.3)
    monkeypatch.setattr(http, "SWEEP_S", 0.1)
    async with serving() as (_, _, browser):
        response = await log_in(browser)
        value = response.headers["Set-Cookie"].partition(";")[0]
        async with browser.get("/events?topic=trades:*:*", headers={"Cookie": value}) as response:
            assert response.status == 400  # the token does not allow that
        async with browser.get("/events?topic=trades:alpha:*", headers={"Cookie": value}) as response:
            lines = (await response.read()).split(b"\n\n")
        assert json.loads(lines[-2][6:])["reason"] == "the login has ended: log in again"
        assert await status(browser, Cookie=value) == 401


async def test_logins_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "MOST_LOGINS", 2)
    async with serving() as (_, _, browser):
        values = [(await log_in(browser)).headers["Set-Cookie"].partition(";")[0] for _ in range(3)]
        browser.cookie_jar.clear()
        assert [await status(browser, Cookie=value) for value in values] == [401, 200, 200]


# --- pages of other sites


@pytest.mark.parametrize(
    ("origin", "method", "status", "allowed"),
    [(SITE, "GET", 204, SITE), (SITE, "POST", 405, SITE), ("https://evil.example", "GET", 403, None)],
)
async def test_a_browser_asks_first(origin: str, method: str, status: int, allowed: str | None) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    async with serving() as (_, _, browser), browser.options("/topics", headers=headers) as response:
        found = response.status, response.headers.get("Access-Control-Allow-Origin")
        assert found == (status, allowed)
        assert "Access-Control-Allow-Credentials" not in response.headers
        if status == 204:
            assert response.headers["Access-Control-Allow-Methods"] == "GET"
            assert response.headers["Access-Control-Allow-Headers"] == "Authorization"
            assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize("path", ["/login", "/logout"])
async def test_pages_of_others_neither_log_in_nor_out(path: str) -> None:
    async with serving() as (_, _, browser):
        headers = {"Origin": "https://evil.example"}
        async with browser.post(path, json={"token": TOKEN}, headers=headers) as response:
            assert response.status == 403
        async with browser.get(path) as response:
            assert (response.status, (await response.json())["error"]) == (405, "only POST is answered here")
            assert response.headers["Allow"] == "POST"


# --- how the daemon is


async def test_how_the_daemon_is_is_told_without_a_token() -> None:
    async with serving() as (_, server, browser):
        assert (await status(browser, "/live"), await status(browser, "/ready")) == (200, 200)
        assert await status(browser, "/live", Host="evil.example") == 403
        await server.hub.stop(0)
        assert await status(browser, "/live") == 200
        async with browser.get("/ready") as response:
            assert (response.status, await response.json()) == (503, {"status": "the daemon ends"})
