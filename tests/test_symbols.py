import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.ingest.symbols import NEEDS, matches, name_all, pattern, unified
from aggregator.records import Instrument, Kind

EXPIRY = 1_719_561_600_000_000_000  # 2024-06-28T08:00:00Z
DAY = 86_400_000_000_000
LATEST = 253_402_300_799 * 1_000_000_000  # the last second of the year 9999

OPTION = Instrument(
    raw_symbol="BTC-28JUN24-60000-C",
    kind="option",
    base="BTC",
    quote="USD",
    settle="BTC",
    expiry=EXPIRY,
    strike="60000",
    option_type="call",
)


def of_kind(kind: Kind) -> Instrument:
    return msgspec.structs.replace(OPTION, kind=kind)


def spot(raw_symbol: str, base: str = "BTC", quote: str = "USD") -> Instrument:
    return Instrument(raw_symbol=raw_symbol, base=base, quote=quote)


# --- one name


@pytest.mark.parametrize(
    ("kind", "symbol"),
    [
        ("spot", "BTC/USD"),
        ("perpetual", "BTC/USD:BTC"),
        ("future", "BTC/USD:BTC-240628"),
        ("option", "BTC/USD:BTC-240628-60000-C"),
        ("index", None),
    ],
)
def test_each_kind_has_its_parts(kind: Kind, symbol: str | None) -> None:
    assert unified(of_kind(kind)) == symbol


@pytest.mark.parametrize(("kind", "part"), [(kind, part) for kind, parts in NEEDS.items() for part in parts or ()])
@pytest.mark.parametrize("empty", [None, ""])
def test_a_part_that_is_missing_leaves_no_name(kind: Kind, part: str, empty: str | None) -> None:
    instrument = of_kind(kind)
    setattr(instrument, part, empty)
    assert unified(instrument) is None


@pytest.mark.parametrize(
    ("strike", "written"),
    [
        ("60000", "60000"),
        ("60000.0", "60000"),
        ("60000.", "60000"),
        ("0.50", "0.5"),
        ("0.00001000", "0.00001"),
        ("100", "100"),
        ("0", "0"),
    ],
)
def test_a_strike_is_written_without_empty_decimals(strike: str, written: str) -> None:
    assert unified(msgspec.structs.replace(OPTION, strike=strike)) == f"BTC/USD:BTC-240628-{written}-C"


def test_a_put_ends_in_p() -> None:
    assert unified(msgspec.structs.replace(OPTION, option_type="put")) == "BTC/USD:BTC-240628-60000-P"


@pytest.mark.parametrize(
    ("expiry", "day"),
    [
        (EXPIRY, "240628"),
        (EXPIRY // DAY * DAY, "240628"),
        (EXPIRY // DAY * DAY + DAY - 1, "240628"),
        (EXPIRY // DAY * DAY + DAY, "240629"),
        (1, "700101"),
        (LATEST, "991231"),
    ],
)
def test_the_day_of_expiry_is_of_utc(expiry: int, day: str) -> None:
    assert unified(msgspec.structs.replace(of_kind("future"), expiry=expiry)) == f"BTC/USD:BTC-{day}"


@pytest.mark.parametrize("expiry", [LATEST + 1_000_000_000, 10**30, -(10**30)])
def test_a_time_beyond_the_calendar_leaves_no_name(expiry: int) -> None:
    assert unified(msgspec.structs.replace(of_kind("future"), expiry=expiry)) is None


# --- all names


def test_names_follow_the_aliases() -> None:
    first = msgspec.structs.replace(of_kind("perpetual"), base="XBT", settle="XBT")
    (named,), warnings = name_all([first], {"XBT": "BTC", "BTC": "never looked up twice"})
    assert (named.base, named.quote, named.settle) == ("BTC", "USD", "BTC")
    assert named.symbol == "BTC/USD:BTC"
    assert warnings == []


def test_a_taken_name_goes_on_with_the_raw_symbol() -> None:
    named, warnings = name_all([spot("A"), spot("B"), spot("C")], {})
    assert [instrument.symbol for instrument in named] == ["BTC/USD", "BTC/USD~B", "BTC/USD~C"]
    assert warnings == ["B would be named BTC/USD, as A is", "C would be named BTC/USD, as A is"]


def test_aliases_may_make_two_names_one() -> None:
    named, warnings = name_all([spot("BTCUSD"), spot("XBTUSD", "XBT")], {"XBT": "BTC"})
    assert [instrument.symbol for instrument in named] == ["BTC/USD", "BTC/USD~XBTUSD"]
    assert len(warnings) == 1


def test_instruments_without_a_name_do_not_collide() -> None:
    named, warnings = name_all([of_kind("index"), of_kind("index"), spot("X", base="")], {})
    assert [instrument.symbol for instrument in named] == [None, None, None]
    assert warnings == []


def test_no_instruments_no_names() -> None:
    assert name_all([], {"XBT": "BTC"}) == ([], [])


ASSETS = st.sampled_from(["BTC", "XBT", "ETH", "USD", ""]) | st.none()
INSTRUMENTS = st.builds(
    Instrument,
    kind=st.sampled_from(sorted(NEEDS)),
    base=ASSETS,
    quote=ASSETS,
    settle=ASSETS,
    expiry=st.integers(1, LATEST) | st.none(),
    strike=st.sampled_from(["1", "1.0", "0.5"]) | st.none(),
    option_type=st.sampled_from(["call", "put"]) | st.none(),
)


@given(st.lists(INSTRUMENTS, max_size=20))
def test_no_name_is_given_twice_and_no_instrument_is_lost(instruments: list[Instrument]) -> None:
    for number, instrument in enumerate(instruments):
        instrument.raw_symbol = f"R{number}"
    named, _ = name_all(instruments, {"XBT": "BTC"})
    symbols = [instrument.symbol for instrument in named if instrument.symbol is not None]
    assert len(set(symbols)) == len(symbols)
    assert [instrument.raw_symbol for instrument in named] == [f"R{number}" for number in range(len(instruments))]


@pytest.mark.parametrize("last", [spot("B"), spot("C", quote="USD~B")])
def test_the_longer_name_may_be_taken_too(last: Instrument) -> None:
    for instruments in ([spot("A"), spot("B"), last], [last, spot("A"), spot("B")]):
        named, _ = name_all([msgspec.structs.replace(instrument) for instrument in instruments], {})
        assert len({instrument.symbol for instrument in named}) == 3


# --- patterns


@pytest.mark.parametrize(
    ("glob", "name", "fits"),
    [
        ("BTC/USDT", "BTC/USDT", True),
        ("BTC/USDT", "BTC/USDT:USDT", False),
        ("BTC/USDT", "xBTC/USDT", False),
        ("btc/usdt", "BTC/USDT", False),
        ("BTC/*", "BTC/USDT:USDT", True),
        ("BTC/*", "BTC/", True),
        ("*/USDT", "BTC/USDT", True),
        ("*/USDT", "BTC/USDT:USDT", False),
        ("*:USDT-*-C", "BTC/USDT:USDT-240628-60000-C", True),
        ("*", "", True),
        ("*", "line\nbreak", True),
        ("**", "BTC", True),
        ("", "", True),
        ("", "BTC", False),
        ("B.C", "BTC", False),
        ("B?C", "BTC", False),
        ("[B]TC", "BTC", False),
        ("[B]TC", "[B]TC", True),
        ("(*)+\\d$", "(x)+\\d$", True),
        ("BTC", "BTC\n", False),
    ],
)
def test_a_star_is_any_text_and_all_else_is_itself(glob: str, name: str, fits: bool) -> None:
    assert (pattern(glob).fullmatch(name) is not None) is fits


def naive(glob: str, name: str) -> bool:
    if not glob.startswith("*"):
        return glob[:1] == name[:1] and (not glob or naive(glob[1:], name[1:]))
    return naive(glob[1:], name) or (name != "" and naive(glob, name[1:]))


@given(st.text("*ab.\\", max_size=7), st.text("ab.\\\n", max_size=7))
def test_patterns_match_as_a_naive_reader_would(glob: str, name: str) -> None:
    assert (pattern(glob).fullmatch(name) is not None) is naive(glob, name)


@given(st.text(max_size=20))
def test_a_name_without_a_star_matches_itself(name: str) -> None:
    assert pattern(name.replace("*", "")).fullmatch(name.replace("*", ""))
    assert isinstance(pattern(name), re.Pattern)


def test_many_stars_cost_little() -> None:
    """Stars side by side are one: else each would multiply the ways to place the others, and this would take years."""
    assert pattern("*" * 60 + "!").fullmatch("BTC/USDT:USDT-240628-60000-C") is None


@pytest.mark.parametrize(
    ("glob", "symbol", "raw_symbol", "fits"),
    [
        ("BTC/*", "BTC/USDT", "BTCUSDT", True),
        ("BTCUSDT", "BTC/USDT", "BTCUSDT", True),
        ("ETH*", "BTC/USDT", "BTCUSDT", False),
        ("BTC*", None, "BTCUSDT", True),
        ("*", None, None, False),
        ("None", None, None, False),
    ],
)
def test_an_instrument_is_known_by_either_name(
    glob: str, symbol: str | None, raw_symbol: str | None, fits: bool
) -> None:
    assert matches(glob, Instrument(symbol=symbol, raw_symbol=raw_symbol)) is fits
