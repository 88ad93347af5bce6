import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import connectors
from aggregator.catalog.registry import connector_ids, known_channels, load_exchange, simulated_ids
from aggregator.exchange import Exchange
from aggregator.records import CHANNELS

IDS = connector_ids()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules are connectors too, forgotten afterwards."""
    monkeypatch.setattr(connectors, "__path__", [*connectors.__path__, str(tmp_path)])
    yield tmp_path
    for file in tmp_path.glob("*.py"):
        sys.modules.pop(f"connectors.{file.stem}", None)
        vars(connectors).pop(file.stem, None)
    importlib.invalidate_caches()


def put(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(text)
    importlib.invalidate_caches()


# --- every connector


def test_ids_are_in_order_and_each_once() -> None:
    assert IDS
    assert sorted(set(IDS)) == IDS


@pytest.mark.parametrize("id", IDS)
def test_a_connector_declares_the_exchange_that_it_is_named_for(id: str) -> None:
    exchange = load_exchange(id)
    assert isinstance(exchange, Exchange)
    assert exchange.id == id


@pytest.mark.parametrize("id", IDS)
def test_known_channels_are_channels_each_once(id: str) -> None:
    channels = known_channels(id)
    assert channels
    assert set(channels) <= set(CHANNELS)
    assert len(set(channels)) == len(channels)


def test_loading_twice_gives_the_same() -> None:
    assert load_exchange(IDS[0]) is load_exchange(IDS[0])


def test_packages_beside_the_connectors_are_no_connectors() -> None:
    assert {"families", "simulated"}.isdisjoint(IDS)
    assert load_exchange("families") is None
    assert load_exchange("simulated") is None


def test_what_can_be_simulated_can_be_read() -> None:
    simulated = simulated_ids()
    assert simulated
    assert sorted(simulated) == simulated
    assert set(simulated) <= set(IDS)


# --- ids that are none

NONE = [
    "",
    " ",
    "nosuchexchange",
    "Binance ",
    "../binance",
    "families.binance",
    "simulated.binance",
    ".binance",
    "binance.",
    "a/b",
    "a\\b",
    "a\x00b",
    "binance\n",
    "*",
    "__init__",
    "__main__",
    "__path__",
    "EXCHANGE",
    "os",
    "\u0661",
    "\u212ainance",
    "x" * 10_000,
]


@pytest.mark.parametrize("id", NONE, ids=lambda name: f"{name[:16]!a}")
def test_an_id_without_a_connector_gives_none(id: str) -> None:
    assert load_exchange(id) is None
    assert known_channels(id) is None


def test_an_unknown_id_loads_nothing() -> None:
    before = set(sys.modules)
    for id in ("os.path", "families.nosuch", "..aggregator", "nosuchexchange"):
        assert load_exchange(id) is None
    assert set(sys.modules) == before


# --- modules that somebody puts there


def test_a_new_module_is_found_without_a_list(folder: Path) -> None:
    put(folder, "brandnew", "from connectors.binance import EXCHANGE\n")
    assert "brandnew" in connector_ids()
    assert load_exchange("brandnew") is load_exchange("binance")


@pytest.mark.parametrize("text", ["", "EXCHANGE = None\n", "EXCHANGE = 'binance'\n", "EXCHANGE = {}\n"])
def test_a_module_without_a_declaration_is_no_connector(folder: Path, text: str) -> None:
    put(folder, "hollow", text)
    assert load_exchange("hollow") is None
    assert known_channels("hollow") is None


@pytest.mark.parametrize(
    ("text", "error"),
    [("import nosuchmodule\n", ModuleNotFoundError), ("EXCHANGE =\n", SyntaxError), ("1 / 0\n", ZeroDivisionError)],
)
def test_a_module_that_is_broken_says_so_itself(folder: Path, text: str, error: type[Exception]) -> None:
    """It is there, so that `None` would be a lie."""
    put(folder, "broken", text)
    with pytest.raises(error):
        load_exchange("broken")


def test_listing_ids_loads_no_connector(folder: Path) -> None:
    put(folder, "broken", "1 / 0\n")
    assert "broken" in connector_ids()
