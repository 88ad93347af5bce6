"""Instruments: listings in parts and pages, what a later one changes, and what is kept on disk."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from msgspec import Raw
from msgspec.json import Decoder

from aggregator.catalog.registry import load_exchange
from aggregator.errors import SessionError
from aggregator.exchange import Details, Exchange, Listing, Request, Stream
from aggregator.ingest import listing as listing_module
from aggregator.ingest.listing import (
    MOST_FAILED,
    ChosenMarkets,
    Identity,
    Listed,
    Markets,
    choosing,
    fetch_listing,
    identity,
    load,
    read_bodies,
    read_listing,
    save,
    suggest,
)
from aggregator.ingest.symbols import matches
from aggregator.records import Instrument, MarketState

SPOT = Request("https://toy.example/spot")
SWAPS = Request("https://toy.example/swaps")
split = Decoder(list[Raw]).decode


def rows(body: bytes) -> Iterable[Raw]:
    return split(body)


def read(row: Raw) -> Instrument | None:
    fields = json.loads(bytes(row))
    return None if fields == "skip" else Instrument(quote="USD", **fields)


def more(request: Request, body: bytes) -> Iterable[Request]:
    return (Request(f"{request.url}?page=2"),) if b"many" in body else ()


def toy(listing: Listing) -> Exchange:
    stream = Stream(url="wss://toy.example", channels={"trades": "t"}, subscribe=lambda _, __: (), parse=lambda _: ())
    return Exchange(id="toy", docs="https://toy.example", feeds=(stream,), listing=listing)


BOTH = toy(Listing((SPOT, SWAPS), rows, read, more))


def answering(**answers: bytes) -> Callable[[Request], object]:
    async def fetch(request: Request) -> bytes:
        path = request.url.rpartition("/")[2]
        if path not in answers:
            raise SessionError(f"{request.url}: HTTP 500")
        return answers[path]

    return fetch


def body(*bases: str, **more_fields: object) -> bytes:
    return json.dumps([{"raw_symbol": f"{base}USD", "base": base, **more_fields} for base in bases]).encode()


async def listed(**answers: bytes) -> Listed:
    return await fetch_listing(BOTH, answering(**answers), {}, lambda: 7)  # type: ignore[arg-type]


async def test_a_listing_of_several_requests() -> None:
    found = await listed(spot=body("A", "B"), swaps=body("C"))
    assert [i.symbol for i in found.instruments] == ["A/USD", "B/USD", "C/USD"]
    assert found.parts == (0, 0, 1)
    assert found.answered == {0, 1}
    assert found.warnings == ()
    assert {(i.exchange, i.ts_recv, i.valid_from) for i in found.instruments} == {("toy", 7, 7)}


@pytest.mark.parametrize("answers", [{}, {"swaps": b"{"}])
async def test_a_part_that_is_not_answered_leaves_its_markets_as_they_were(answers: dict[str, bytes]) -> None:
    markets = Markets(await listed(spot=body("A"), swaps=body("C")))
    for _ in range(3):
        found = await listed(spot=body("A", "B"), **answers)
        assert found.answered == {0}
        assert "a part of the listing" in found.warnings[0]
        markets.update(found)
    assert [i.raw_symbol for i in markets.instruments] == ["AUSD", "CUSD", "BUSD"]


async def test_no_answer_at_all_is_an_error() -> None:
    with pytest.raises(SessionError, match="HTTP 500"):
        await listed()


@pytest.mark.parametrize("spot", [b"{", b"7", b"[]"])
async def test_an_answer_that_cannot_be_read_is_an_error(spot: bytes) -> None:
    with pytest.raises(SessionError, match="toy: its listing"):
        await listed(spot=spot, swaps=b"[]")


async def test_pages_are_followed() -> None:
    first = json.dumps([{"raw_symbol": "many", "base": "M"}]).encode()
    found = await listed(**{"spot": first, "spot?page=2": body("A"), "swaps": body("C")})
    assert [i.raw_symbol for i in found.instruments] == ["many", "AUSD", "CUSD"]


def lists_of(request: Request, body: bytes) -> Iterable[Request]:
    """A list for each asset that the first answer names."""
    return [Request(f"{request.url}/{row['base']}") for row in json.loads(body)] if request == SPOT else ()


ASSETS = toy(Listing((SPOT,), rows, read, lists_of))


async def of_assets(**answers: bytes) -> Listed:
    return await fetch_listing(ASSETS, answering(spot=body(*answers), **answers), {}, lambda: 7)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [None, b"{", b'{"error": "busy"}'])
async def test_a_list_of_one_asset_that_fails_costs_no_other(bad: bytes | None) -> None:
    """What is not had stays as it was, and of the whole part nothing counts as gone."""
    markets = Markets(await of_assets(A=body("A1", "A2"), B=body("B1", "B2"), C=body("C1")))
    before = {i.raw_symbol for i in markets.instruments}
    for _ in range(3):
        fetch = answering(
            spot=body("A", "B", "C"), A=body("A1"), C=body("C1", "C2"), **({} if bad is None else {"B": bad})
        )
        found = await fetch_listing(ASSETS, fetch, {}, lambda: 7)  # type: ignore[arg-type]
        assert found.answered == frozenset()
        assert len(found.warnings) == 1
        markets.update(found)
    assert {i.raw_symbol for i in markets.instruments} == before | {"C2USD"}
    for _ in range(2):
        markets.update(await of_assets(A=body("A1"), B=body("B1"), C=body("C1", "C2")))
    assert {i.raw_symbol for i in markets.instruments} >= {"A1USD", "B1USD", "C1USD", "C2USD"}
    assert not {"A2USD", "B2USD"} & {i.raw_symbol for i in markets.instruments}


async def test_each_list_that_fails_is_told_of_once() -> None:
    found = await fetch_listing(ASSETS, answering(spot=body("A", "B", "C"), C=body("C1")), {}, lambda: 7)  # type: ignore[arg-type]
    assert list(found.missing.values()) == [f"part 0: {SPOT.url}/A", f"part 0: {SPOT.url}/B"]
    assert found.warnings[0] == f"toy: a part of the listing is missing: {SPOT.url}/A: HTTP 500"


async def test_a_page_that_fails_leaves_what_came_before_it() -> None:
    first = json.dumps([{"raw_symbol": "many", "base": "M"}]).encode()
    found = await listed(spot=first, swaps=body("C"))
    assert [i.raw_symbol for i in found.instruments] == ["many", "CUSD"]
    assert found.answered == {1}


async def test_where_one_list_after_the_other_fails_the_rest_is_not_asked_for() -> None:
    asked = []

    async def fetch(request: Request) -> bytes:
        asked.append(request.url)
        if request == SPOT:
            return body("A", *(f"X{n}" for n in range(50)))
        if request.url.endswith("/A"):
            return body("A")
        raise SessionError(f"{request.url}: no answer")

    found = await fetch_listing(ASSETS, fetch, {}, lambda: 7)
    assert len(asked) == 2 + MOST_FAILED
    assert "45 more are not asked for" in found.warnings[-1]
    assert found.answered == frozenset()


async def test_a_host_that_was_asked_too_much_for_a_list_is_not_asked_on() -> None:
    asked = []

    async def fetch(request: Request) -> bytes:
        asked.append(request)
        if request == SPOT:
            return body("A", "B")
        raise SessionError("too many requests", is_busy=True)

    with pytest.raises(SessionError, match="too many requests"):
        await fetch_listing(ASSETS, fetch, {}, lambda: 7)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("id", "first", "names", "row", "failing"),
    [
        (
            "gate",
            "/options/underlyings",
            b'[{"name":"BTC_USDT","index_price":"1"},{"name":"ETH_USDT","index_price":"1"}]',
            b'[{"name":"ETH_USDT-20261225-3000-C","underlying":"ETH_USDT","is_call":true,"order_price_round":"0.1"}]',
            "underlying=BTC_USDT",
        ),
        (
            "okx",
            "/public/underlying?instType=OPTION",
            b'{"code":"0","data":[["BTC-USD","ETH-USD"]]}',
            b'{"code":"0","data":[{"instType":"OPTION","instId":"ETH-USD-261225-3000-C","uly":"ETH-USD","state":"live"}]}',
            "instFamily=BTC-USD",
        ),
    ],
)
async def test_the_options_of_one_asset_that_fail_cost_those_of_no_other(
    id: str, first: str, names: bytes, row: bytes, failing: str
) -> None:
    exchange = load_exchange(id)
    assert exchange is not None

    async def fetch(request: Request) -> bytes:
        if first in request.url:
            return names
        if "instFamily=" in request.url or "underlying=" in request.url:
            if failing in request.url:
                raise SessionError(f"{request.url}: HTTP 502")
            return row
        return b'{"code":"0","data":[]}' if id == "okx" else b"[]"

    found = await fetch_listing(exchange, fetch, {}, lambda: 7)
    assert [i.kind for i in found.instruments] == ["option"]
    (part,) = found.parts
    assert found.answered == set(range(len(exchange.listing.requests))) - {part}
    assert any(failing in warning for warning in found.warnings)


async def test_pages_without_an_end_are_an_error() -> None:
    async def fetch(_: Request) -> bytes:
        return b'[{"raw_symbol": "many", "base": "M"}]'

    with pytest.raises(SessionError, match="more than 100 pages"):
        await fetch_listing(BOTH, fetch, {}, lambda: 7)


def test_a_row_that_cannot_be_read_is_skipped_and_named() -> None:
    found = read_bodies(BOTH, [b'["skip", {"odd": 1}, {"raw_symbol": "A", "base": "A"}]'], {}, 7)
    assert [i.raw_symbol for i in found.instruments] == ["A"]
    assert len(found.warnings) == 1
    assert '"odd"' in found.warnings[0]


@pytest.mark.parametrize("name", ['""', '" "', '"\\u0000"', '"\\ud800"', '"A\\ud83d"', '"\\udc00\\ud83d"', '"\\u2028"'])
async def test_a_name_that_is_none_costs_its_own_row_alone(name: str) -> None:
    answer = f'[{{"raw_symbol": {name}, "base": "B"}}, {{"raw_symbol": "币\\ud83d\\ude00\\\\ud800", "base": "A"}}]'
    found = await listed(spot=answer.encode(), swaps=b"[]")
    assert [i.raw_symbol for i in found.instruments] == ["币😀\\ud800"]
    (warning,) = found.warnings
    assert "is no name" in warning


def test_what_is_not_utf_8_costs_its_own_row_alone() -> None:
    answer = b'[{"raw_symbol": "\xff", "base": "B"}, {"raw_symbol": "A", "base": "A"}]'
    found = read_bodies(BOTH, [answer], {}, 7)
    assert [i.raw_symbol for i in found.instruments] == ["A"]
    assert len(found.warnings) == 1


def changes(markets: Markets, *bodies: bytes) -> dict[str | None, tuple[str, str]]:
    return {i.raw_symbol: (i.change, i.state) for i in markets.update(read_bodies(BOTH, bodies, {}, 9))}


def test_what_a_later_listing_changes() -> None:
    markets = Markets(read_bodies(BOTH, [body("A", "B", "C")], {}, 7))
    later = [body("A"), body("C", state="halt"), body("D")]
    merged = json.dumps([row for part in later for row in json.loads(part)]).encode()
    assert changes(markets, merged) == {"CUSD": ("update", "halt"), "DUSD": ("new", "trading")}
    assert changes(markets, merged) == {"BUSD": ("delist", "delisted")}
    assert changes(markets, merged) == {}
    assert [i.raw_symbol for i in markets.instruments] == ["AUSD", "CUSD", "DUSD"]


def test_a_market_that_one_answer_lacks_is_not_gone() -> None:
    markets = Markets(read_bodies(BOTH, [body("A", "B")], {}, 7))
    for _ in range(3):
        assert changes(markets, body("A")) == {}
        assert changes(markets, body("A", "B")) == {}


def test_a_market_that_the_exchange_calls_delisted_is_gone_at_once_and_may_come_back() -> None:
    markets = Markets(read_bodies(BOTH, [body("A")], {}, 7))
    assert changes(markets, body("A", state="delisted")) == {"AUSD": ("delist", "delisted")}
    assert changes(markets, b"[]") == {}
    assert changes(markets, b"[]") == {}
    assert markets.instruments == []
    assert changes(markets, body("A")) == {"AUSD": ("new", "trading")}


def test_markets_that_share_a_name_are_told_apart() -> None:
    both = [json.loads(body("A"))[0], json.loads(body("A", kind="perpetual", settle="USD", linear=True))[0]]
    markets = Markets(read_bodies(BOTH, [json.dumps(both).encode()], {}, 7))
    assert changes(markets, json.dumps(both).encode()) == {}
    changes(markets, json.dumps(both[:1]).encode())
    (gone,) = markets.update(read_bodies(BOTH, [json.dumps(both[:1]).encode()], {}, 9))
    assert (gone.change, gone.symbol) == ("delist", "A/USD:USD")


def test_patterns_keep_what_is_halted_and_followed() -> None:
    a, b = read_bodies(BOTH, [body("A", state="halt"), body("B", state="halt")], {}, 7).instruments
    assert choose([a, b], ["*"]).instruments == []
    assert choose([a, b], ["*"], {identity(a)}).instruments == [a]


def test_what_is_only_announced_is_asked_for_by_name_alone() -> None:
    (soon,) = read_bodies(BOTH, [body("A", state="pre_open", ts_listed=100)], {}, 7).instruments
    assert (choose([soon], ["*"], now=99).instruments, choose([soon], ["*"], now=99).idle) == ([], ["*"])
    assert choose([soon], ["*"], now=100).instruments == [soon]
    assert choose([soon], ["A/USD"], now=99).instruments == [soon]


def test_patterns_leave_out_what_is_closed_and_names_do_not() -> None:
    instruments = read_bodies(BOTH, [body("A"), body("B", state="halt")], {}, 7).instruments
    assert [i.base for i in choose(instruments, ["*/USD"]).instruments] == ["A"]
    assert [i.base for i in choose(instruments, ["B/USD"]).instruments] == ["B"]
    assert choose(instruments, ["X/USD", "A/USD"]).idle == ["X/USD"]


def choose(
    instruments: Sequence[Instrument], patterns: Sequence[str], followed: Collection[Identity] = (), now: int = 0
) -> ChosenMarkets:
    """What patterns come to, when all steps are done."""
    found: list[ChosenMarkets] = []

    def steps() -> Iterator[None]:
        found.append((yield from choosing(instruments, patterns, followed, now)))

    for _ in steps():
        pass
    return found[0]


def test_each_pattern_is_told_what_it_comes_to() -> None:
    instruments = read_bodies(BOTH, [body("A", "B", "C"), body("D", state="halt")], {}, 7).instruments
    found = choose(instruments, ["*/EUR", "C/USD", "B*", "X", "D*", "BUSD", "A/USD"])
    assert [i.base for i in found.instruments] == ["C", "B", "A"]
    assert [i.base for i in found.waiting] == ["D"]
    assert found.idle == ["*/EUR", "X", "D*"]
    assert found.unlisted == ["*/EUR", "X"]


def test_choosing_gives_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "STEP", 10)
    instruments = [Instrument(raw_symbol=f"M{at}", symbol=f"M{at}/USD") for at in range(100)]
    looked = 0

    def counted(pattern: str, instrument: Instrument) -> bool:
        nonlocal looked
        looked += 1
        return matches(pattern, instrument)

    monkeypatch.setattr(listing_module, "matches", counted)
    names = [f"M{at}" for at in range(0, 100, 2)]
    most = 0
    for _ in choosing(instruments, [*names, "M*", "*/USD"]):
        most, looked = max(most, looked), 0
    assert most == 10, "an instrument is looked at once for a pattern, and not at all for a name"


async def test_what_is_kept_is_what_is_read(tmp_path: Path) -> None:
    found = await listed(spot=body("A", "B"), swaps=body("C"))
    path = tmp_path / "deep" / "toy.json"
    save(found, path)
    kept = load(path)
    assert kept is not None
    assert (kept.ts, kept.instruments, kept.parts) == (found.ts, found.instruments, found.parts)
    path.write_bytes(b"{torn")
    assert load(path) is None
    assert load(tmp_path / "none.json") is None


def test_a_state_that_is_not_known_is_named_once_with_how_many_it_concerns() -> None:
    """By the first of the names that the connector's rows have for it; the instruments stay, in the state `unknown`."""

    def read_stated(row: Raw) -> Instrument:
        said = json.loads(bytes(row))
        return Instrument(raw_symbol=said["name"], base=said["name"], state=known.get(said["s"], "unknown"))

    known: dict[str, MarketState] = {"OPEN": "trading"}
    exchange = toy(Listing((SPOT,), rows, read_stated, state=("status", "s")))
    stated = [{"name": name, "s": word} for name, word in zip("ABCDE", ("OPEN", "NAP", "NAP", "NAP", 7), strict=True)]
    found = read_bodies(exchange, [json.dumps(stated).encode()], {}, 7)
    assert [instrument.state for instrument in found.instruments] == ["trading"] + ["unknown"] * 4
    assert found.warnings == (
        "toy: 'NAP' is no state that is known: B and 2 more may trade or not",
        "toy: '7' is no state that is known: E may trade or not",
    )


def test_a_state_that_no_name_leads_to_is_told_of_all_the_same() -> None:
    exchange = toy(Listing((SPOT,), rows, lambda row: Instrument(raw_symbol="A", state="unknown")))  # noqa: ARG005
    for body_of in (b"[[1,2]]", b'[{"mood":"odd"}]'):
        assert read_bodies(exchange, [body_of], {}, 7).warnings == (
            "toy: '' is no state that is known: A may trade or not",
        )


def test_no_more_instruments_are_read_than_are_allowed() -> None:
    found = read_listing(BOTH, {0: [body("A", "B", "C")], 1: [body("D")]}, {}, 7, most=2)
    assert [i.base for i in found.instruments] == ["A", "B"]
    assert found.answered == frozenset(), "who is missing from what was left out is not gone"
    assert found.warnings == ("toy: 2 rows are left out: max_instruments is 2",)


def test_rows_that_cannot_be_read_are_named_up_to_a_hundred() -> None:
    odd = json.dumps([{"odd": n} for n in range(150)] + [{"raw_symbol": "A", "base": "A"}]).encode()
    found = read_bodies(BOTH, [odd], {}, 7)
    assert len(found.warnings) == 101
    assert "skipped 50 more" in found.warnings[-1]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BTC-USDT", "BTC/USDT"),
        ("btcusdt", "BTC/USDT"),
        ("BTC_USDT", "BTC/USDT"),
        ("BTC/USD", "BTC/USDT"),
        ("XXBTZUSD", "BTC/USD:BTC"),
        ("DOGE/EUR", None),
        ("", None),
    ],
)
def test_what_was_probably_meant(name: str, meant: str | None) -> None:
    listed = [
        Instrument(raw_symbol="BTCUSDT", symbol="BTC/USDT"),
        Instrument(raw_symbol="XXBTZUSD.P", symbol="BTC/USD:BTC"),
        Instrument(raw_symbol="ETHUSDT", symbol="ETH/USDT"),
    ]
    assert suggest(name, listed) == meant


# --- what completes a listing ---------------------------------------------------------------------------------------

RATES = Request("https://toy.example/rates")
SLOW = Request("https://toy.example/slow")
split_rate = Decoder(tuple[str, int]).decode


def read_rate(row: Raw) -> Instrument | None:
    name, hours = split_rate(row)
    return None if name == "skip" else Instrument(raw_symbol=name, funding_interval_s=hours * 3600, min_size="1")


COMPLETED = toy(Listing((SPOT,), rows, read, more, details=(Details(RATES, rows, read_rate, more),)))


async def completed(**answers: bytes) -> Listed:
    return await fetch_listing(COMPLETED, answering(**answers), {}, lambda: 7)  # type: ignore[arg-type]


def told(instruments: Iterable[Instrument]) -> dict[str | None, tuple[int | None, str | None]]:
    return {i.raw_symbol: (i.funding_interval_s, i.min_size) for i in instruments}


async def test_what_a_listing_leaves_open_is_taken_from_its_details() -> None:
    listing = json.dumps([*json.loads(body("A", "B")), *json.loads(body("C", min_size="9"))]).encode()
    found = await completed(spot=listing, rates=b'[["AUSD", 8], ["CUSD", 4], ["ZUSD", 1], ["skip", 0]]')
    assert told(found.instruments) == {"AUSD": (28800, "1"), "BUSD": (None, None), "CUSD": (14400, "9")}
    assert found.warnings == ()
    assert found.is_complete


async def test_a_detail_is_of_the_instrument_of_its_kind() -> None:
    found = await completed(spot=body("A", kind="perpetual", settle="USD"), rates=b'[["AUSD", 8]]')
    assert told(found.instruments) == {"AUSD": (None, None)}


async def test_details_come_in_pages_too() -> None:
    first = b'[["many", 8], ["AUSD", 8]]'
    found = await completed(spot=body("A", "B"), **{"rates": first, "rates?page=2": b'[["BUSD", 1]]'})
    assert told(found.instruments) == {"AUSD": (28800, "1"), "BUSD": (3600, "1")}
    again = await completed(spot=body("A", "B"), rates=first)  # and a page that fails leaves its own open
    assert told(again.instruments) == {"AUSD": (28800, "1"), "BUSD": (None, None)}
    assert not again.is_complete
    assert again.answered == {0}


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ({}, "what completes the listing is missing: https://toy.example/rates: HTTP 500"),
        ({"rates": b"{"}, "what completes the listing cannot be read"),
        ({"rates": b'[["BUSD", 1], "odd", 7]'}, "skipped 2 of 3 rows that complete the listing"),
    ],
)
async def test_where_details_fail_what_was_known_stands(rates: dict[str, bytes], words: str) -> None:
    markets = Markets(await completed(spot=body("A", "B"), rates=b'[["AUSD", 8], ["BUSD", 1]]'))
    for _ in range(3):
        found = await completed(spot=body("A", "B"), **rates)
        assert found.answered == {0}, "no part of the listing is missing"
        assert not found.is_complete
        (warning,) = found.warnings
        assert warning.startswith(f"toy: {words}")
        assert markets.update(found) == []
    assert told(markets.instruments) == {"AUSD": (28800, "1"), "BUSD": (3600, "1")}


async def test_what_changes_in_details_is_a_change() -> None:
    markets = Markets(await completed(spot=body("A", "B"), rates=b'[["AUSD", 8], ["BUSD", 8]]'))
    changed = markets.update(await completed(spot=body("A", "B"), rates=b'[["AUSD", 4], ["BUSD", 8]]'))
    assert [(i.raw_symbol, i.change, i.funding_interval_s) for i in changed] == [("AUSD", "update", 14400)]
    (gone,) = markets.update(await completed(spot=body("A", "B"), rates=b'[["BUSD", 8]]'))
    assert (gone.raw_symbol, gone.funding_interval_s) == ("AUSD", None)


async def test_where_details_are_missing_from_the_start_they_are_told_when_they_come() -> None:
    markets = Markets(await completed(spot=body("A")))
    (later,) = markets.update(await completed(spot=body("A"), rates=b'[["AUSD", 8]]'))
    assert (later.change, later.funding_interval_s) == ("update", 28800)


async def test_a_host_that_was_asked_too_much_for_details_is_not_asked_on() -> None:
    asked = []

    async def fetch(request: Request) -> bytes:
        asked.append(request)
        if request == SPOT:
            return body("A")
        raise SessionError("too many requests", is_busy=True)

    details = (Details(RATES, rows, read_rate), Details(SLOW, rows, read_rate))
    found = await fetch_listing(toy(Listing((SPOT,), rows, read, details=details)), fetch, {}, lambda: 7)
    assert asked == [SPOT, RATES]
    assert [i.raw_symbol for i in found.instruments] == ["AUSD"]
    assert not found.is_complete


def test_answers_of_which_nobody_knows_to_what_are_told_apart() -> None:
    for bodies in ([body("A"), b'[["AUSD", 8]]'], [b'[["AUSD", 8]]', body("A")]):
        found = read_bodies(COMPLETED, bodies, {}, 7)
        assert told(found.instruments) == {"AUSD": (28800, "1")}
        assert found.warnings == ()
