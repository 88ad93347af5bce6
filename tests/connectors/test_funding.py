"""Funding, over all exchanges: of which kinds the rates are, and where it is said how often and when they are paid.

What each rate means stands in the `about` of a frame of it, with its source.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec import Struct

from aggregator.catalog.registry import connector_ids, load_exchange
from aggregator.exchange import Request
from aggregator.ingest.listing import read_listing
from aggregator.records import Funding
from aggregator.session.topics import fill_interval

FRAMES = Path(__file__).parents[1] / "frames"
SECOND = 1_000_000_000
SOURCE = re.compile(r"\(.*20\d\d.*\)")


class Told(Struct, frozen=True):
    """What an exchange's records of funding are.

    kinds: of its rates
    interval, next: where its length is said, and when it ends: in a `frame`, in the `listing` or in its `details`
    """

    kinds: set[str]
    interval: set[str]
    next: set[str]


def told(kinds: str, interval: str, next: str) -> Told:
    return Told(set(kinds.split()), set(interval.split()), set(next.split()))


FUNDING = {
    "aster": told("current", "details", "frame"),
    "backpack": told("predicted", "listing", "frame"),
    "bequant": told("current predicted", "listing", "frame"),
    "bigone": told("current predicted", "", "frame"),
    "binancecoinm": told("current", "details", "frame"),
    "binanceusdm": told("current", "details", "frame"),
    "bingx": told("current", "frame", "frame"),
    "bitfinex": told("current predicted", "frame", "frame"),
    "bitflyer": told("current", "listing", "frame"),
    "bitget": told("current", "listing", "frame"),
    "bitrue": told("current", "", ""),  # an answer says how many seconds are left, and a parser knows no clock
    "bitstamp": told("current", "listing", "frame"),
    "blofin": told("current", "frame", "frame"),
    "bybit": told("current predicted", "frame listing", "frame"),  # predicted until 2023
    "coinbase": told("current", "frame listing", ""),
    "coinbaseinternational": told("current predicted settled", "frame", ""),  # it is paid all the time since 2026-10
    "cryptocom": told("current predicted", "frame", "frame"),
    "delta": told("current predicted", "frame listing", "frame"),
    "deribit": told("current", "frame", ""),  # it is paid all the time
    "dydx": told("current", "frame listing", "frame listing"),  # in frames of version 3
    "fmfwio": told("current predicted", "listing", "frame"),
    "gate": told("current", "frame listing", "frame listing"),
    "gemini": told("current settled", "frame", "frame"),
    "hashkey": told("current", "listing", "frame"),
    "hitbtc": told("current predicted", "listing", "frame"),
    "htx": told("current predicted", "listing", "frame"),
    "hyperliquid": told("current", "listing", "listing"),
    "digifinex": told("current", "frame", "frame"),
    "krakenfutures": told("current predicted", "frame", "frame"),
    "kucoinfutures": told("current settled", "frame listing", "frame listing"),
    "lighter": told("current settled", "frame listing", "listing"),
    "lbank": told("current", "frame", "frame"),
    "mexc": told("current", "details", "frame details"),
    "okx": told("current predicted settled", "frame", "frame"),
    "onetrading": told("current", "listing", "frame"),
    "paradex": told("current", "frame listing", ""),  # it is paid all the time
    "phemex": told("current predicted", "listing details", "details"),
    "poloniex": told("predicted settled", "frame", "frame"),
    "wazirx": told("current", "", "frame"),
    "whitebit": told("current", "details", "frame"),
    "woo": told("predicted", "listing", "frame"),
    "woofipro": told("predicted", "listing", "frame"),
    "weex": told("settled predicted", "frame", "frame"),
    "bullish": told("current", "frame listing", "listing"),
    "toobit": told("current", "frame", "frame"),
    "btse": told("current", "frame", "frame"),
    "deepcoin": told("current", "details", "frame details"),
    "bydfi": told("current", "details", "frame details"),
    "zebpay": told("current", "details", "frame"),
    "modetrade": told("predicted", "listing", "frame"),
    "bybitid": told("current", "frame listing", "frame"),
    "myokx": told("current predicted settled", "frame", "frame"),
    "xt": told("current", "details", "details"),
    "apex": told("current predicted", "frame listing", "frame listing"),
    "grvt": told("current", "frame listing", "frame"),
    "extended": told("current", "frame listing", "listing"),
    "pacifica": told("current predicted", "frame listing", "listing"),
    "derive": told("current", "frame listing", ""),  # it is paid all the time
    "hibachi": told("predicted", "frame listing", "frame listing"),
    "nado": told("current", "frame", "frame"),
    "polymarket": told("current", "frame listing", "frame"),
}


def test_every_exchange_with_funding_is_in_the_table() -> None:
    exchanges = {id: load_exchange(id) for id in connector_ids()}
    assert set(FUNDING) == {id for id, exchange in exchanges.items() if exchange and "funding" in exchange.channels}


def shown(id: str) -> Iterable[tuple[str, str, dict[str, object]]]:
    """Where something is said, with which words beside it, and what it gives."""
    for case in map(json.loads, (FRAMES / f"{id}.jsonl").read_text().splitlines()):
        rest = case.get("rest", "frame")
        for given in case["gives"] if isinstance(case["gives"], list) else ():
            yield "frame" if rest == "poll" else rest, case.get("about", ""), given or {}


@pytest.mark.parametrize("id", FUNDING)
def test_frames_show_what_the_table_says(id: str) -> None:
    found = Told(set(), set(), set())
    for place, _, given in shown(id):
        if given.get("type") == "funding":
            found.kinds.add(str(given.get("kind", "current")))
        if "interval_s" in given or "funding_interval_s" in given:
            found.interval.add(place)
        is_due = given.get("type") == "funding" and "ts_next" in given and given.get("kind") != "settled"
        if is_due or "funding_offset_s" in given:
            found.next.add(place)
    assert found == FUNDING[id]


@pytest.mark.parametrize("id", FUNDING)
def test_a_negative_rate_is_shown_with_who_pays_and_who_says_so(id: str) -> None:
    rates = [
        about for _, about, given in shown(id) if given.get("type") == "funding" and str(given["rate"]).startswith("-")
    ]
    assert any("shorts pa" in about and SOURCE.search(about) for about in rates)


def test_what_completes_a_listing_comes_in_pages_of_two_hundred() -> None:
    """`pageNum` and `pageSize` of Phemex: without the latter an answer has twenty of its contracts (2026-09)."""
    exchange = load_exchange("phemex")
    assert exchange is not None
    (details,) = exchange.listing.details
    body = b'{"data":{"total":401,"rows":[]}}'
    asked = [details.request]
    for request in asked:
        asked += details.more(request, body)
    assert [request.url.partition("?")[2] for request in asked] == [f"pageSize=200&pageNum={n}" for n in (1, 2, 3)]
    assert list(details.more(asked[0], b'{"data":{"total":200,"rows":[]}}')) == []
    assert isinstance(asked[2], Request)


def test_a_rate_that_says_neither_is_told_how_often_and_when() -> None:
    """A ticker of MEXC's has the rate alone."""
    exchange = load_exchange("mexc")
    assert exchange is not None
    contract = {"symbol": "A_USDT", "baseCoin": "A", "quoteCoin": "USDT", "settleCoin": "USDT", "contractSize": 1}
    cycle = {"symbol": "A_USDT", "collectCycle": 4, "nextSettleTime": 1_784_019_600_000}
    bodies = [json.dumps({"success": True, "data": [row]}).encode() for row in (contract, cycle)]
    (instrument,) = read_listing(exchange, {1: bodies[:1]}, {}, 7, details={0: bodies[1:]}).instruments
    record = Funding(raw_symbol="A_USDT", rate="0.0001", ts_event=1_784_020_000 * SECOND)
    fill_interval(record, instrument)
    assert (record.interval_s, record.ts_next) == (14_400, (1_784_019_600 + 14_400) * SECOND)
