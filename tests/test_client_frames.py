"""Records as frames of polars, pandas and pyarrow: the same columns whatever came, to the last digit and nanosecond."""

import asyncio
import builtins
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.bus.bus import Bus
from aggregator.client import CutOff, FeedError, connect, frames, sync
from aggregator.client.frames import Gathering, seconds
from aggregator.feed.address import UnixAddress
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import (
    RECORD_TYPES,
    BookDelta,
    BookSnapshot,
    Consolidated,
    Gap,
    Health,
    Instrument,
    OrdersDelta,
    Record,
    Summary,
    Trade,
    defaults,
)
from aggregator.tables.columns import columns

pytestmark = pytest.mark.waits

PATIENCE = 30.0  # seconds; nothing here takes nearly as long
LIBRARIES = ["polars", "pandas", "pyarrow"]
NOW = 1_795_000_000_000_000_777
BTC = {"exchange": "alpha", "symbol": "BTC/USD", "raw_symbol": "XBTUSD", "ts_recv": NOW}


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


def gathered(library: Any, *records: Record, numbers: Any = "text") -> dict[str, Any]:
    gathering = Gathering("1s", library.__name__, numbers)
    for record in records:
        gathering.add(record, "epoch", 0.0)
    return gathering.take()


def rows(frame: Any) -> list[dict[str, Any]]:
    """The rows of a frame of any of the libraries, with a null as None."""
    if hasattr(frame, "to_dicts"):
        return list(frame.to_dicts())
    if hasattr(frame, "to_pylist"):
        return list(frame.to_pylist())
    told = frame.astype(object).where(frame.notna(), None)
    return list(told.to_dict("records"))


def schema(frame: Any) -> list[tuple[str, str]]:
    if hasattr(frame, "to_pylist"):
        return [(each.name, str(each.type)) for each in frame.schema]
    return [(name, str(kind)) for name, kind in zip(frame.columns, frame.dtypes, strict=True)]


def nanoseconds(frame: Any, name: str) -> list[int | None]:
    if hasattr(frame, "to_dicts"):
        return list(frame[name].cast(int))
    if hasattr(frame, "to_pylist"):
        return list(frame[name].cast("int64").to_pylist())
    return [None if value is importlib.import_module("pandas").NaT else value.value for value in frame[name]]


def sold(price: str, size: str = "1", **more: Any) -> Trade:
    return Trade(**BTC, price=price, size=size, **more)  # type: ignore[arg-type]


def bare(kind: type[Record]) -> Record:
    """A record of a type of which as much is null as may be."""
    samples: dict[str, Any] = {"count": 1, "time": NOW, "number": "1", "measure": 1.0, "flag": True}
    samples |= {"text": "text", "word": "close"}
    missing = {column.name: samples.get(column.kind, []) for column in columns(kind)[1:]}
    return kind(**(missing | defaults(kind) | {"exchange": "alpha"}))


def full(kind: type[Record]) -> Record:
    """A record of a type of which nothing is null."""
    samples: dict[str, Any] = {"count": 2**62, "time": NOW, "number": "0.10", "measure": 1.5, "flag": True}
    samples |= {"text": "text", "word": "word", "words": ("late",)}
    told: dict[str, Any] = {column.name: samples.get(column.kind) for column in columns(kind)[1:]}
    rows = {c.name: [tuple(samples[part.kind] for part in c.parts)] for c in columns(kind) if c.kind == "rows"}
    return kind(**(told | rows))


# --- columns


@pytest.mark.parametrize("kind", RECORD_TYPES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("numbers", ["text", "decimal", "float"])
def test_a_type_has_the_same_columns_whatever_came_first(library: Any, kind: type[Record], numbers: Any) -> None:
    tag = str(kind.__struct_config__.tag)
    first, second = (gathered(library, record, numbers=numbers)[tag] for record in (bare(kind), full(kind)))
    assert schema(first) == schema(second)
    assert [name for name, _ in schema(first)] == ["epoch", *kind.__struct_fields__]
    assert len(rows(first)) == len(rows(second)) == 1
    if library.__name__ == "polars":
        assert len(library.concat([first, second])) == 2


def test_times_keep_their_nanoseconds(library: Any) -> None:
    frame = gathered(library, sold("1"), sold("2", ts_event=NOW + 1))["trade"]
    assert nanoseconds(frame, "ts_recv") == [NOW, NOW]
    assert nanoseconds(frame, "ts_event") == [None, NOW + 1]
    kinds = dict(schema(frame))
    assert kinds["ts_event"] == kinds["ts_recv"]
    assert "ns" in kinds["ts_event"]
    assert "UTC" in kinds["ts_event"]


def test_the_place_at_another_daemon_is_text_as_it_is_in_json(library: Any) -> None:
    frame = gathered(library, sold("1"), sold("2", upstream=("20260102T030405.000000Z", 7, "tokyo/london")))["trade"]
    assert [row["upstream"] for row in rows(frame)] == [None, '["20260102T030405.000000Z",7,"tokyo/london"]']


def test_numbers_are_text_unless_asked(library: Any) -> None:
    frame = gathered(library, sold("60424.4500", "0.0000000000001", sequence=2**62 + 1))["trade"]
    (row,) = rows(frame)
    assert (row["price"], row["size"], row["quote_size"], row["epoch"]) == (
        "60424.4500",
        "0.0000000000001",
        None,
        "epoch",
    )
    assert (row["sequence"], row["sequence_prev"], row["flags"]) == (2**62 + 1, None, [])


def test_exact_numbers_compute(library: Any) -> None:
    frame = gathered(library, sold("60424.45", "0.0000000000001"), sold("-0.5", "2"), numbers="decimal")["trade"]
    assert [row["price"] for row in rows(frame)] == [Decimal("60424.45"), Decimal("-0.5")]
    if library.__name__ == "pyarrow":
        product = importlib.import_module("pyarrow.compute").multiply(frame["price"], frame["size"]).to_pylist()
    else:
        product = list(frame["price"] * frame["size"])
    assert product == [Decimal("60424.45") * Decimal("0.0000000000001"), Decimal(-1)]


def test_floats_where_they_are_asked_for(library: Any) -> None:
    (row,) = rows(gathered(library, sold("60424.45", "0.1"), numbers="float")["trade"])
    assert (row["price"], row["size"], row["quote_size"]) == (60424.45, 0.1, None)


@pytest.mark.parametrize("number", ["0.1234567890123456789", "12345678901234567890"])
def test_a_number_that_would_be_rounded_is_refused(library: Any, number: str) -> None:
    book = BookDelta(**BTC, bids=[("1", number)], asks=[])  # type: ignore[arg-type]
    if library.__name__ == "pandas":  # its objects hold any
        assert rows(gathered(library, sold(number), numbers="decimal")["trade"])[0]["price"] == Decimal(number)
        return
    for record, name in ((sold(number), "price"), (book, "a size of bids")):
        with pytest.raises(FeedError, match=rf"{name} .* fits no decimal column, which has 19 digits .* take numbers="):
            gathered(library, record, numbers="decimal")


@pytest.mark.parametrize("number", ["1e3", "NaN", "", "1,5", ".", "-"])
@pytest.mark.parametrize("numbers", ["decimal", "float"])
def test_what_is_no_number_is_refused(library: Any, number: str, numbers: Any) -> None:
    with pytest.raises(FeedError, match=r"price '.*' is no number; take numbers='text'"):
        gathered(library, sold(number), numbers=numbers)
    assert rows(gathered(library, sold(number))["trade"])[0]["price"] == number


@pytest.mark.parametrize("name", LIBRARIES)
@given(
    texts=st.lists(
        st.from_regex(r"[+-]?0{0,3}([0-9]{1,19}(\.[0-9]{0,18}0{0,9})?|\.[0-9]{1,18})", fullmatch=True), max_size=20
    )
)
def test_every_digit_of_a_number_that_fits_is_kept(name: str, texts: list[str]) -> None:
    library = pytest.importorskip(name)
    found = gathered(library, *(sold(text) for text in texts), sold("0"), numbers="decimal")["trade"]
    assert [row["price"] for row in rows(found)] == [*map(Decimal, texts), 0]


def test_levels_and_orders(library: Any) -> None:
    book = BookSnapshot(**BTC, bids=[("1.50", "2"), ("1", "3")], asks=[])  # type: ignore[arg-type]
    orders = OrdersDelta(**BTC, bids=[("a1", "1.50", "2")], asks=[])  # type: ignore[arg-type]
    for numbers, number in (("text", str), ("decimal", Decimal), ("float", float)):
        found = gathered(library, book, orders, numbers=numbers)
        (levels,), (single,) = rows(found["book_snapshot"]), rows(found["orders_delta"])
        tell = tuple if library.__name__ == "pandas" else lambda level: tuple(level.values())
        assert [tell(level) for level in levels["bids"]] == [(number("1.50"), number("2")), (number("1"), number("3"))]
        assert [tell(level) for level in single["bids"]] == [("a1", number("1.50"), number("2"))]
        assert [*levels["asks"]] == [*single["asks"]] == []


def test_what_several_exchanges_say(library: Any) -> None:
    told = [("beta", "live", 12, "1.50", "2", None, None), ("gamma", "quiet", 2**40, None, None, "2", "1")]
    record = Consolidated(**BTC, contributors=told, absent=[("delta", "old", None)])  # type: ignore[arg-type]
    (row,) = rows(gathered(library, record, numbers="decimal")["consolidated"])
    tell = tuple if library.__name__ == "pandas" else lambda each: tuple(each.values())
    assert [tell(each) for each in row["contributors"]] == [
        ("beta", "live", 12, Decimal("1.50"), Decimal(2), None, None),
        ("gamma", "quiet", 2**40, None, None, Decimal(2), Decimal(1)),
    ]
    assert [tell(each) for each in row["absent"]] == [("delta", "old", None)]


def test_a_count_of_more_than_64_bits_is_refused(library: Any) -> None:
    with pytest.raises(FeedError, match="sequence 9223372036854775808 of alpha XBTUSD has more than 64 bits"):
        gathered(library, sold("1", sequence=2**63))


def test_flags_measures_and_expiries(library: Any) -> None:
    found = gathered(
        library,
        sold("1", flags=("late", "bad_ts")),
        Instrument(**BTC, linear=True, expiry=NOW),  # type: ignore[arg-type]
        Health(**BTC, channel="book", state="live", rate=2.5),  # type: ignore[arg-type]
        Summary(**BTC, ts_from=NOW),  # type: ignore[arg-type]
    )
    assert list(found) == ["trade", "instrument", "health", "summary"]
    assert [*rows(found["trade"])[0]["flags"]] == ["late", "bad_ts"]
    assert rows(found["instrument"])[0]["linear"] is True
    assert nanoseconds(found["instrument"], "expiry") == [NOW]
    assert (rows(found["health"])[0]["rate"], rows(found["summary"])[0]["latency_ms"]) == (2.5, None)


# --- asking for them


@pytest.mark.parametrize(
    ("every", "found"),
    [("1 s", 1.0), ("250ms", 0.25), ("1.5m", 90.0), ("2h", 7200.0), (3, 3.0), (0.5, 0.5)],
)
def test_an_interval(every: str | float, found: float) -> None:
    assert seconds(every) == found


@pytest.mark.parametrize("every", ["", "1", "s", "-1s", "0s", 0, -1, float("nan"), float("inf")])
def test_what_is_no_interval(every: str | float) -> None:
    with pytest.raises(FeedError, match='is no interval: write seconds, or text like "100ms"'):
        seconds(every)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(frames, "import_module", missing)
    with pytest.raises(FeedError, match="need the package polars: pip install polars, or the extra `frames`"):
        Gathering("1s", "polars", "text")
    with pytest.raises(FeedError, match="frames of 'excel': there are those of polars, pandas, pyarrow"):
        Gathering("1s", "excel", "text")  # type: ignore[arg-type]
    with pytest.raises(FeedError, match="numbers as 'int': there are text, decimal, float"):
        Gathering("1s", "polars", "int")  # type: ignore[arg-type]


def test_a_batch_is_given_before_its_time_where_it_is_large(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MOST_RECORDS", 3)
    gathering = Gathering("1h", library.__name__, "text")
    for number in range(3):
        assert not gathering.is_due(0.0)
        gathering.add(sold(str(number + 1)), "epoch", 0.0)
    assert gathering.is_due(0.0)
    assert len(rows(gathering.take()["trade"])) == 3
    assert (gathering.take(), gathering.due) == ({}, None)


# --- from the feed


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[tuple[Bus, FeedServer]]:
    bus = Bus("epoch")
    server = FeedServer(FeedSettings(listen=(UnixAddress(path),)), bus)
    await server.start()
    bus.attach(server.publish)
    try:
        yield bus, server
    finally:
        await server.stop(0.2)


def gap() -> Gap:
    return Gap(**BTC, gap_id="1", phase="open", channel="trades", cause="sequence", ts_from=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["asyncio", "blocking"])
async def test_frames_of_the_feed(how: str, library: Any, tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    found: list[dict[str, Any]] = []

    def blocking() -> None:
        with sync.connect(path) as feed:
            found.extend(feed.frames("trades:*:*", every="50ms", to=library.__name__))

    async def waiting() -> None:
        async with connect(path) as feed:
            async for each in feed.frames("trades:*:*", every="50ms", to=library.__name__):
                found.append(each)  # noqa: PERF401 - they are looked at while they come

    async with asyncio.timeout(PATIENCE), serving(path) as (bus, server):
        reading = asyncio.ensure_future(asyncio.to_thread(blocking) if how == "blocking" else waiting())
        while not (server.status().subscribers and server.status().subscribers[0].topics):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        bus.publish([sold("1"), gap(), sold("2")])
        while not found:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)
        bus.publish([sold("3")])
        await server.stop(PATIENCE)
        await reading
    assert [list(each) for each in found] == [["trade", "gap"], ["trade"]]
    assert [row["price"] for each in found for row in rows(each["trade"])] == ["1", "2", "3"]
    assert [row["offset"] for row in rows(found[0]["gap"])] == [2]
    assert {row["epoch"] for each in found for row in rows(each["trade"])} == {"epoch"}


async def test_what_came_before_a_cut_is_given(library: Any, tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    async with serving(path) as (bus, server), connect(path) as feed:
        frames = feed.frames("trades:*:*", every="1h", to=library.__name__)
        coming = asyncio.ensure_future(anext(frames))
        async with asyncio.timeout(PATIENCE):
            while not (server.status().subscribers and server.status().subscribers[0].topics):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
            bus.publish([sold("1")])
            await feed.ping()
            for subscriber in list(server.hub._subscribers.values()):
                subscriber.peer.close()
            assert list(await coming) == ["trade"]
            with pytest.raises(CutOff):
                await anext(frames)


def test_nothing_of_it_is_loaded_by_who_asks_for_no_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    real, loaded = builtins.__import__, []

    def noting(name: str, *rest: Any) -> Any:
        loaded.append(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", noting)
    importlib.reload(frames)
    assert not {name.partition(".")[0] for name in loaded} & set(LIBRARIES)
