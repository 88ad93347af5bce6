"""Instruments: listings in parts and pages, what a later one changes, and what is kept on disk."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from msgspec import Raw
from msgspec.json import Decoder

from aggregator.errors import SessionError
from aggregator.exchange import Exchange, Listing, Request, Stream
from aggregator.instruments import Listed, changes, choose, completed, fetch_listing, load, read_listing, save
from aggregator.records import Instrument

SPOT = Request("https://toy.example/spot")
SWAPS = Request("https://toy.example/swaps")
split = Decoder(list[Raw]).decode


def rows(body: bytes) -> Iterable[Raw]:
    return split(body)


def read(row: Raw) -> Instrument | None:
    fields = json.loads(bytes(row))
    return None if fields == "skip" else Instrument(quote="USD", **fields)


def more(request: Request, body: bytes) -> Request | None:
    return Request(f"{request.url}?page=2") if b"many" in body else None


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
    assert found.whole
    assert found.warnings == ()
    assert {(i.exchange, i.ts_recv, i.valid_from) for i in found.instruments} == {("toy", 7, 7)}


async def test_a_part_that_does_not_answer_stops_no_other_and_keeps_what_was_known() -> None:
    before = await listed(spot=body("A"), swaps=body("C"))
    found = await listed(spot=body("A", "B"))
    assert not found.whole
    assert "a part of the listing is missing" in found.warnings[0]
    whole = completed(found, before)
    assert [i.raw_symbol for i in whole.instruments] == ["AUSD", "BUSD", "CUSD"]
    assert completed(before, found) is before


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


async def test_pages_without_an_end_are_an_error() -> None:
    async def fetch(_: Request) -> bytes:
        return b'[{"raw_symbol": "many", "base": "M"}]'

    with pytest.raises(SessionError, match="more than 100 pages"):
        await fetch_listing(BOTH, fetch, {}, lambda: 7)


def test_a_row_that_cannot_be_read_is_skipped_and_named() -> None:
    found = read_listing(BOTH, [b'["skip", {"odd": 1}, {"raw_symbol": "A", "base": "A"}]'], {}, 7)
    assert [i.raw_symbol for i in found.instruments] == ["A"]
    assert len(found.warnings) == 1
    assert '"odd"' in found.warnings[0]


def test_what_a_later_listing_changes() -> None:
    before = read_listing(BOTH, [body("A", "B", "C")], {}, 7).instruments
    halted = read_listing(BOTH, [body("A"), body("C", state="halt"), body("D")], {}, 9).instruments
    found = {i.raw_symbol: (i.change, i.state) for i in changes(before, halted)}
    assert found == {"CUSD": ("update", "halt"), "DUSD": ("new", "trading"), "BUSD": ("delist", "delisted")}
    assert changes(before, read_listing(BOTH, [body("A", "B", "C")], {}, 99).instruments) == []


def test_markets_that_share_a_name_are_told_apart() -> None:
    both = [body("A"), body("A", kind="perpetual", settle="USD", linear=True)]
    before = read_listing(BOTH, both, {}, 7).instruments
    assert changes(before, read_listing(BOTH, both, {}, 9).instruments) == []
    (gone,) = changes(before, read_listing(BOTH, both[:1], {}, 9).instruments)
    assert (gone.change, gone.symbol) == ("delist", "A/USD:USD")


def test_patterns_leave_out_what_is_closed_and_names_do_not() -> None:
    instruments = read_listing(BOTH, [body("A"), body("B", state="halt")], {}, 7).instruments
    assert [i.base for i in choose(instruments, ["*/USD"])[0]] == ["A"]
    assert [i.base for i in choose(instruments, ["B/USD"])[0]] == ["B"]
    assert choose(instruments, ["X/USD", "A/USD"])[1] == ["X/USD"]


async def test_what_is_kept_is_what_is_read(tmp_path: Path) -> None:
    found = await listed(spot=body("A", "B"), swaps=body("C"))
    path = tmp_path / "deep" / "toy.json"
    save(found, path)
    kept = load(path)
    assert kept is not None
    assert (kept.ts, kept.instruments) == (found.ts, found.instruments)
    path.write_bytes(b"{torn")
    assert load(path) is None
    assert load(tmp_path / "none.json") is None
