"""Toobit's books: changes are counted, a whole one is not, and one that comes after a hole is taken."""

import json

from aggregator.exchange import Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap, IndexPrice, Instrument, Record
from aggregator.session.moment import Now
from aggregator.session.naming import spoken
from aggregator.session.session import Session
from connectors.toobit import EXCHANGE


def frame(count: int, *, whole: bool = False) -> bytes:
    row = {"t": 1, "b": [["1", "2"]], "a": [["3", "2"]], "o": count}
    said = {"symbol": "A-SWAP-USDT", "topic": "diffDepth", "data": [row], "f": whole, "sendTime": 5}
    return json.dumps(said, separators=(",", ":")).encode()


def read(*frames: bytes) -> list[Record]:
    stream = EXCHANGE.streams[0]
    wanted = [Subscription("book", "A-SWAP-USDT")]
    session = Session("toobit", stream, conn="toobit", instruments={}, subscriptions=wanted)
    session.open(Now(1, 1))
    return [record for at, said in enumerate(frames, 2) for record in session.receive([said], Now(at, at))]


def test_the_first_change_after_a_whole_book_may_have_any_number() -> None:
    found = read(frame(0, whole=True), frame(4711), frame(4712))
    assert [type(record) for record in found] == [BookSnapshot, BookDelta, BookDelta]


def test_a_number_that_is_missing_is_a_hole_which_the_next_whole_book_closes() -> None:
    found = read(frame(0, whole=True), frame(4711), frame(4713), frame(0, whole=True), frame(4720))
    assert [type(record) for record in found] == [BookSnapshot, BookDelta, Gap, BookSnapshot, Gap, BookDelta]


def test_an_index_that_two_contracts_share_is_asked_for_once_and_told_under_each() -> None:
    (stream,) = (stream for stream in EXCHANGE.streams if stream.name == "indices")
    names = ("A-SWAP-USDT", "A-SWAP-USDC")
    instruments = {name: Instrument(raw_symbol=name, kind="perpetual", index="AUSDT") for name in names}
    wanted = [Subscription("index_price", name) for name in names]
    asked = list(spoken(stream, instruments).subscribe(wanted, 1))
    assert [json.loads(frame)["symbol"] for frame in asked] == ["AUSDT"]
    session = Session("toobit", stream, conn="toobit", instruments=instruments, subscriptions=wanted)
    session.open(Now(1, 1))
    while session.outbox:
        session.sent(session.outbox.popleft(), Now(1, 1))
    said = {
        "symbol": "AUSDT",
        "topic": "index",
        "data": [{"symbol": "AUSDT", "index": "7.5", "time": 5}],
        "sendTime": 6,
    }
    found = session.receive([json.dumps(said, separators=(",", ":")).encode()], Now(2, 2))
    told = [record for record in found if isinstance(record, IndexPrice)]
    assert [(record.raw_symbol, record.price, record.index) for record in told] == [(n, "7.5", "AUSDT") for n in names]
