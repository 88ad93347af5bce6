"""The web page's files: whoever comes may have them, with a policy that lets nothing else in, and no data with them."""

import re
from pathlib import Path

import aiohttp
import pytest
from msgspec import json

from aggregator.catalog.catalog import load_catalog, load_countries
from aggregator.feed.transports.page import page_files
from tests.feed.test_login import serving, status

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
LARGEST_BYTES = 300_000  # of all files, compressed


async def test_the_page_needs_no_token_and_its_data_do() -> None:
    async with serving() as (_, _, browser):
        for path in page_files():
            assert await status(browser, path) == 200, path
        assert [await status(browser, path) for path in ("/topics", "/status", "/metrics")] == [401, 401, 401]


async def test_nothing_of_elsewhere_and_nothing_inline_may_run() -> None:
    async with serving() as (_, _, browser), browser.get("/") as response:
        policy = response.headers["Content-Security-Policy"]
        text = await response.text()
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=", text)
    assert not re.search(r"(?:src|href)=\"(?!/[^/])", text), "each file is of this very place"


async def test_a_page_of_another_name_or_site_has_nothing() -> None:
    async with serving() as (_, _, browser):
        assert await status(browser, "/", Host="evil.example") == 403
        assert await status(browser, "/page.js", Origin="https://evil.example") == 403
        assert await status(browser, "/?topic=x") == 400
        assert await status(browser, "/../feed.py") == 401, "nothing but its files"


async def test_a_browser_that_has_a_file_is_told_so() -> None:
    async with serving() as (_, _, browser):
        async with browser.get("/page.js") as response:
            tag = response.headers["ETag"]
            assert response.headers["Cache-Control"] == "no-cache"
            assert response.headers["Content-Encoding"] == "gzip"
            assert await response.read() == page_files()["/page.js"].body
        async with browser.get("/page.js", headers={"If-None-Match": tag}) as response:
            assert (response.status, await response.read()) == (304, b"")
            assert "Content-Security-Policy" in response.headers
        async with browser.get("/page.js", headers={"Accept-Encoding": "identity"}) as response:
            assert "Content-Encoding" not in response.headers
            assert await response.read() == page_files()["/page.js"].body


async def test_it_is_small() -> None:
    assert sum(len(file.packed) for file in page_files().values()) < LARGEST_BYTES


async def test_the_catalogue_is_whole() -> None:
    async with serving() as (_, _, browser), browser.get("/catalogue.json") as response:
        assert response.content_type == "application/json"
        catalogue = json.decode(await response.read())
    assert {entry["id"] for entry in catalogue["exchanges"]} == load_catalog().keys()
    assert catalogue["countries"].keys() == load_countries().keys()
    assert catalogue["words"].keys() == {"en", "zh"}


def test_the_licences_go_with_it() -> None:
    notice = (ROOT / "NOTICE").read_bytes()
    assert page_files()["/notice.txt"].body == notice
    locked = json.decode((ROOT / "web/package-lock.json").read_bytes())["packages"]
    bundled = {name.rpartition("/")[2] for name, one in locked.items() if name and not one.get("dev")}
    assert bundled == {"fancy-canvas", "lightweight-charts", "preact"}
    assert all(name in notice.decode().lower() for name in bundled)
    assert not any("resolved" in one for one in locked.values()), "the lock file names no registry"


async def test_a_replay_serves_it_too() -> None:
    async with serving(tokens=()) as (_, _, browser):
        assert await status(browser, "/") == 200
        assert await status(browser, "/status") == 404, "there is no daemon to tell of"
        async with browser.get("/", timeout=aiohttp.ClientTimeout(5)) as response:
            assert b'id="page"' in await response.read()
