"""The catalogue: complete, consistent in itself, and forgiving about how an exchange is spelled."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest

from aggregator.catalog.catalog import (
    CatalogEntry,
    aliases_of,
    country_code,
    load_aliases,
    load_catalog,
    load_countries,
)
from aggregator.catalog.registry import archived_ids
from aggregator.config.schema import why_not
from aggregator.errors import nearest

FACTS = Path(__file__).parents[3] / "shared/exchanges/exchanges.json"
DATE = r"\d{4}(-\d{2}(-\d{2})?)?"
ENTRIES = tuple(load_catalog().values())
# These are not of the list of 2025, which has 201.
BEYOND = {
    "apex",
    "aster",
    "backpack",
    "binancetr",
    "bittrade",
    "blockchaincom",
    "btse",
    "bullish",
    "bybiteu",
    "bybitid",
    "bydfi",
    "cryptomus",
    "deepcoin",
    "derive",
    "dydx",
    "extended",
    "gateeu",
    "grvt",
    "hibachi",
    "hyperliquid",
    "lighter",
    "modetrade",
    "mudrex",
    "myokx",
    "nado",
    "okxus",
    "pacifica",
    "paradex",
    "polymarket",
    "revolutx",
    "toobit",
    "weex",
    "zebpay",
}
STREAMS = {"itbit", "wavesexchange"}  # polled by the list of 2025, but their documentation has streams (2026-11)
SEVEN = ("binance", "bit2c", "bitstamp", "coinbaseexchange", "htx", "kraken", "okx")


def test_all_exchanges_are_there_in_order() -> None:
    ids = list(load_catalog())
    assert set(ids) >= BEYOND
    assert len(ids) == 201 + len(BEYOND)
    assert ids == sorted(set(ids))


def test_the_file_has_one_exchange_a_line() -> None:
    text = (resources.files("aggregator") / "data" / "exchanges.json").read_text("utf-8")
    assert [json.loads(line.rstrip(","))["id"] for line in text.splitlines()[1:-1]] == list(load_catalog())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_an_entry_is_consistent(entry: CatalogEntry) -> None:
    assert entry.name
    assert re.fullmatch(r"https?://[^{}\s]+", entry.home)
    assert entry.docs
    assert set(entry.countries) <= set(load_countries())
    assert entry.countries or entry.id in BEYOND  # a chain is of no country
    assert entry.name not in entry.former_names
    assert entry.successor != entry.id
    if entry.status == "live":
        assert entry.transport
        assert entry.closed is entry.reason is entry.successor is None
    else:
        assert entry.reason
        assert not entry.certified
    if entry.status in {"closed", "suspended", "delisted", "renamed"}:
        assert re.fullmatch(rf"{DATE}(\.\.{DATE})?", entry.closed or "")
    if entry.status in {"renamed", "duplicate-api"}:
        assert entry.successor
    if entry.status == "suspended":
        assert entry.operating == "suspended"
    if entry.status == "closed":
        assert entry.operating == "no"
        assert entry.transport is None


def test_a_successor_is_never_renamed_itself() -> None:
    catalog = load_catalog()
    ends = [catalog[name].status for entry in ENTRIES if (name := entry.successor or "") in catalog]
    assert ends
    assert set(ends) <= {"live", "closed", "delisted"}


def test_the_exchanges_with_a_connector_are_live() -> None:
    assert {load_catalog()[exchange].status for exchange in SEVEN} == {"live"}


def test_facts_that_were_looked_up() -> None:
    catalog = load_catalog()
    assert catalog["bittrex"].closed == "2023-12-04"
    assert catalog["okex"].successor == "okx"
    assert set(catalog["htx"].former_names) == {"Huobi", "Huobi Pro"}
    assert catalog["wazirx"].status == "delisted"
    assert catalog["wazirx"].operating == "yes"
    assert catalog["bit2c"].transport == "rest-poll"
    assert catalog["okx"].certified
    assert catalog["binance"].zh_name == "币安"


@pytest.mark.skipif(not FACTS.exists(), reason="../shared/exchanges is not here")
def test_the_catalogue_agrees_with_the_facts() -> None:
    venues = json.loads(FACTS.read_text("utf-8"))["venues"]
    assert set(venues) == set(load_catalog()) - BEYOND
    for id, fact in venues.items():
        entry = load_catalog()[id]
        info = fact["status_info"]
        assert (entry.name, entry.version, list(entry.docs)) == (fact["name"], fact["api_version"], fact["doc_urls"])
        assert (entry.status, entry.successor, entry.operating) == (
            fact["status"],
            info["successor"],
            info["operating"],
        )
        assert entry.closed == (info["closed_date"] or info["renamed_date"] or info["delisted_date"])
        assert entry.transport == ("ws" if id in STREAMS else fact["stream"] and fact["stream"]["transport"])
        assert list(entry.countries) == fact["countries"]


def test_one_that_has_suspended_trading_is_refused_with_the_date() -> None:
    said = why_not("blockchaincom", is_built=False)
    assert said is not None
    assert said.startswith('"blockchaincom" suspended trading on 2025-10-19: ')


def test_what_is_loaded_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        load_catalog()["binance"] = ENTRIES[0]  # type: ignore[index]
    with pytest.raises(TypeError):
        aliases_of("kraken")["XBT"] = "?"  # type: ignore[index]
    assert load_catalog() is load_catalog()


def test_aliases_are_of_all_and_of_one() -> None:
    assert aliases_of("binance")["XBT"] == "BTC"
    assert aliases_of("kraken")["XDG"] == "DOGE"
    assert aliases_of("kraken")["XBT"] == "BTC"
    assert aliases_of("lbank")["XBT"] == "XBT"  # another asset there
    assert aliases_of("of-no-exchange") == load_aliases()["*"]


def test_aliases_belong_to_exchanges_that_are_read_and_fit_into_symbols() -> None:
    trading = {entry.id for entry in ENTRIES if entry.status == "live" or entry.operating == "yes"}
    assert set(load_aliases()) - {"*"} <= trading | set(archived_ids())
    for assets in load_aliases().values():
        assert not [asset for asset in assets.values() if not asset.strip() or set(asset) & set("/:~*\n")]


def test_an_exchange_that_is_over_keeps_its_aliases() -> None:
    assert aliases_of("probit")["TOR"] == "Torex"
    assert aliases_of("bittrex")["XBT"] == "BTC"


def test_nearest_prefers_the_first_of_equals() -> None:
    assert nearest("ab", ["abc", "abd"]) == "abc"
    assert nearest("zz", ["abc"]) is None
    assert nearest("zz", []) is None


@pytest.mark.parametrize(
    ("said", "code"), [("gb", "GB"), ("UK", "GB"), ("south korea", "KR"), ("英国", "GB"), ("EU", "EU"), ("Mars", None)]
)
def test_a_country_by_any_name(said: str, code: str | None) -> None:
    assert country_code(said) == code
