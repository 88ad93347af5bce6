"""All 201 ids of the list of 2025: the catalogue, the commands, the refusals and the pages say of each what is known.

The facts stand in `../shared/exchanges/exchanges.json`, and are read where they are there.
"""

import json
import re
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from aggregator.catalog.catalog import load_catalog, load_countries
from aggregator.catalog.registry import connector_ids, load_exchange
from aggregator.cli import group
from aggregator.config.schema import why_not
from aggregator.docgen.by_country import load_words

ROOT = Path(__file__).resolve().parents[2]
FACTS = ROOT.parent / "shared/exchanges/exchanges.json"
VENUES: dict[str, dict[str, object]] = json.loads(FACTS.read_text("utf-8"))["venues"] if FACTS.exists() else {}
DOCS = ROOT / "docs"
VERBS = {
    "closed": "closed",
    "renamed": "was renamed to",
    "duplicate-api": "is an old API of",
    "delisted": "was delisted",
}

pytestmark = pytest.mark.skipif(not VENUES, reason="../shared/exchanges is not here")


def said(fact: dict[str, object]) -> dict[str, str | None]:
    info = fact["status_info"]
    assert isinstance(info, dict)
    return info


def date_of(fact: dict[str, object]) -> str | None:
    return said(fact)["closed_date"] or said(fact)["renamed_date"] or said(fact)["delisted_date"]


@cache
def listed() -> dict[str, dict[str, object]]:
    result = CliRunner().invoke(group, ["exchanges", "--json"])
    assert result.exit_code == 0, result.output
    return {one["id"]: one for one in json.loads(result.stdout)}


@cache
def rows_of(page: str) -> dict[str, list[list[str]]]:
    """By id: the cells of its rows on a page."""
    found: dict[str, list[list[str]]] = {}
    for line in (DOCS / page).read_text("utf-8").splitlines():
        if match := re.match(r"\| `([a-z0-9_]+)` \|", line):
            found.setdefault(match[1], []).append([cell.strip() for cell in line.strip("|").split(" | ")])
    return found


def refusal(id: str) -> str | None:
    """What a configuration that names it is told; None where it is taken."""
    return why_not(id, is_built=id in connector_ids())


def test_the_list_has_201_ids() -> None:
    assert len(VENUES) == 201


@pytest.mark.parametrize("id", VENUES)
def test_the_command_says_what_is_known(id: str) -> None:
    fact, one, exchange = VENUES[id], listed()[id], load_exchange(id)
    assert (one["name"], one["status"], one["closed"]) == (fact["name"], fact["status"], date_of(fact))
    assert (one["successor"], one["countries"]) == (said(fact)["successor"], fact["countries"])
    assert one["connector"] == (id in connector_ids())
    assert one["channels"] == list(exchange.channels if exchange else ())


@pytest.mark.parametrize("id", VENUES)
def test_the_pages_say_what_is_known(id: str) -> None:
    """One row in the list of all, and one for each of its countries, in both languages."""
    fact = VENUES[id]
    (cells,) = rows_of("exchanges.md")[id]
    assert cells[3].startswith(str(fact["status"]))
    row = " | ".join(cells)
    assert (date_of(fact) or "") in row
    assert (said(fact)["successor"] or "") in row
    for language, page in (("en", "exchanges-by-country.md"), ("zh", "exchanges-by-country.zh.md")):
        words = load_words()[language]  # type: ignore[index]
        rows = rows_of(page)[id]
        assert len(rows) == max(1, len(set(load_catalog()[id].countries) & set(load_countries())))
        for cells in rows:
            assert cells[2] == words.statuses[load_catalog()[id].status]
            assert (date_of(fact) or "") in cells[3]
            assert (said(fact)["successor"] or "") in cells[3]
            assert bool(cells[5].strip("| ")) == (id in connector_ids())


@pytest.mark.parametrize("id", [id for id, fact in VENUES.items() if fact["status"] != "live"])
def test_a_configuration_is_told_how_an_id_ended(id: str) -> None:
    """Its date, and what to write instead. One that was only dropped from the lists is taken with its connector."""
    fact, why = VENUES[id], refusal(id)
    if fact["status"] == "delisted" and id in connector_ids():
        assert why is None
        return
    assert why is not None
    assert id in why
    date, successor = date_of(fact), said(fact)["successor"]
    if fact["status"] != "duplicate-api":
        assert all(part in why for part in (date or "").split(".."))
    assert (successor or "") in why
    assert VERBS[str(fact["status"])] in why


@pytest.mark.parametrize("id", [id for id, fact in VENUES.items() if fact["status"] == "live"])
def test_a_live_one_is_taken_or_has_no_connector_yet(id: str) -> None:
    why = refusal(id)
    assert (why is None) == (id in connector_ids())
    assert why is None or f'there is no connector for "{id}" yet' in why
