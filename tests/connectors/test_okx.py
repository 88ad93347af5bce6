"""OKX: how its books begin, by a frame or by an answer, and whose funding is asked for."""

import json

import pytest

from aggregator.capture.replay import Reader
from aggregator.exchange import Request, Subscription
from aggregator.records import (
    BookDelta,
    BookSnapshot,
    Funding,
    Gap,
    Health,
    IndexPrice,
    Instrument,
    Kind,
    Record,
)
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.okx import EXCHANGE

ETH = "ETH-USDT"
BIDS, ASKS = [["3000", "4", "0", "2"]], [["3001", "1", "0", "1"]]


def at(seconds: float) -> Now:
    return Now(1_763_700_000_000_000_000 + int(seconds * 1e9), 10**12 + int(seconds * 1e9))


def frame(action: str, number: int, before: int) -> bytes:
    row = {"asks": ASKS, "bids": BIDS, "ts": str(1_763_700_000_000 + number), "seqId": number, "prevSeqId": before}
    said = {"arg": {"channel": "books", "instId": ETH}, "action": action, "data": [row]}
    return json.dumps(said, separators=(",", ":")).encode()


def answer(number: int | None) -> bytes:
    row = {"asks": ASKS, "bids": BIDS, "ts": "1763700000000"} | ({} if number is None else {"seqId": number})
    return json.dumps({"code": "0", "data": [row], "msg": ""}).encode()


@pytest.fixture
def session() -> Session:
    stream = next(stream for stream in EXCHANGE.streams if "book" in stream.channels)
    asked = [Subscription("book", ETH)]
    session = Session("okx", stream, conn="okx/public/1", instruments={}, subscriptions=asked)
    session.open(at(0))
    for frame in session.outbox:
        session.sent(frame, at(0))
    session.outbox.clear()
    return session


def wait(session: Session, start: int, end: int) -> None:
    for second in range(start, end):
        session.tick(at(second))


def number(session: Session) -> int | None:
    return next((book.sequence for book in session.books(at(99))), None)


def asks_anew(session: Session) -> bool:
    return any(b'"subscribe"' in sent for sent in session.outbox)


def told(records: list[Record]) -> list[type[Record]]:
    return [type(r) for r in records if isinstance(r, BookSnapshot | BookDelta)]


def test_a_book_that_the_stream_begins_is_not_asked_for(session: Session) -> None:
    wait(session, 1, 3)
    session.receive([frame("snapshot", 10, -1)], at(3))
    session.receive([frame("update", 12, 10)], at(3.1))
    wait(session, 4, 8)
    assert number(session) == 12
    assert not session.wanted
    assert not asks_anew(session)


def test_a_delta_without_a_book_has_it_asked_for_and_joined_within_its_span(session: Session) -> None:
    session.receive([frame("update", 12, 10)], at(1))
    session.receive([frame("update", 16, 12)], at(1.1))
    fetch = session.wanted.popleft()
    assert fetch.request.url.endswith("/market/books?instId=ETH-USDT&sz=400&source=0")
    assert told(session.answer(fetch, answer(14), at(1.2))) == [BookSnapshot, BookDelta]
    assert number(session) == 16


def test_a_book_of_which_nothing_comes_is_asked_for_in_the_end(session: Session) -> None:
    wait(session, 1, 15)
    assert not session.wanted
    wait(session, 15, 18)
    assert len(session.wanted) == 1


def test_an_answer_that_is_too_old_is_asked_for_again(session: Session) -> None:
    session.receive([frame("update", 12, 10)], at(1))
    assert not told(session.answer(session.wanted.popleft(), answer(8), at(1.1)))
    wait(session, 2, 24)
    session.receive([frame("update", 16, 12)], at(24))
    session.answer(session.wanted.popleft(), answer(14), at(24.1))
    assert number(session) == 16


@pytest.mark.parametrize("has_answer", [True, False])
def test_where_rest_is_of_no_help_the_topic_is_asked_for_anew(session: Session, *, has_answer: bool) -> None:
    session.receive([frame("snapshot", 10, -1)], at(1))
    session.receive([frame("update", 14, 12)], at(1.1))
    fetch = session.wanted.popleft()
    if has_answer:
        assert not told(session.answer(fetch, answer(None), at(1.2)))
    else:
        session.unanswered(fetch)
    wait(session, 2, 4)
    assert asks_anew(session)
    session.receive([frame("snapshot", 20, -1)], at(4))
    session.outbox.clear()
    session.unanswered(fetch)  # of what is there again
    wait(session, 5, 9)
    assert number(session) == 20
    assert not session.wanted
    assert not asks_anew(session)


@pytest.mark.parametrize(
    ("raw_symbol", "kind", "stream"),
    [
        ("BTC-USDT-SWAP", "perpetual", "swaps"),
        ("BTC-USD_UM_XPERP-310404", "future", "xperps"),
        ("BTC-USD-261225", "future", None),
        ("BTC-USDT", "spot", None),
    ],
)
def test_funding_is_of_swaps_and_of_futures_that_pay_it(raw_symbol: str, kind: Kind, stream: str | None) -> None:
    instrument = Instrument(raw_symbol=raw_symbol, kind=kind)
    serving = [s for s in EXCHANGE.streams if "funding" in s.channels and s.serves(instrument)]
    assert [s.name for s in serving] == ([] if stream is None else [stream])
    for found in serving:
        (frame,) = found.subscribe([Subscription("funding", raw_symbol)], 1)
        assert json.loads(frame)["args"] == [{"channel": "funding-rate", "instId": raw_symbol}]


def test_a_settled_rate_is_told_once_however_often_it_is_repeated() -> None:
    """The exchange repeats it with each current one (2026); its time is that of the period before."""
    row = {"fundingRate": "0.0001", "fundingTime": "1790006400000", "instId": "A-USDT-SWAP", "instType": "SWAP"}
    row |= {"prevFundingTime": "1789977600000", "settFundingRate": "0.0002", "settState": "settled"}
    later = row | {"fundingTime": "1790035200000", "prevFundingTime": "1790006400000", "settFundingRate": "0.0003"}
    stream = next(s for s in EXCHANGE.streams if s.name == "swaps")
    session = Session("okx", stream, conn="okx/swaps/1", instruments={}, channels={"funding"})
    out: list[Record] = []
    for each in (row, row, later, later, row):
        said = {"arg": {"channel": "funding-rate", "instId": "A-USDT-SWAP"}, "data": [each]}
        out += session.receive([json.dumps(said).encode()], at(1))
    rates = [(r.kind, r.rate, r.ts_next) for r in out if isinstance(r, Funding)]
    assert [rate for rate in rates if rate[0] == "settled"] == [
        ("settled", "0.0002", 1_789_977_600 * 10**9),
        ("settled", "0.0003", 1_790_006_400 * 10**9),
    ]
    assert len(rates) == 7
    assert not [r for r in out if isinstance(r, Gap)]


@pytest.mark.parametrize("port", ["", ":443", ":8443"])
def test_a_capture_is_read_whatever_the_port(port: str) -> None:
    reader = Reader(EXCHANGE, [], None)
    assert reader.stream_of(f"wss://ws.okx.com{port}/ws/v5/business", b"{}").name == "business"
    assert reader.stream_of(f"wss://ws.okx.com{port}/ws/v5/public", b"{}").name == "public"


def test_an_index_is_asked_for_by_the_name_that_the_listing_gives_and_told_under_each_of_its_swaps() -> None:
    """`BTC-USD_UM` was refused in 2026: the index of `BTC-USD_UM-SWAP` is `BTC-USD`, as that of `BTC-USD-SWAP` is."""
    names = {"BTC-USD_UM-SWAP": "BTC-USD", "BTC-USD-SWAP": "BTC-USD", "A-USDT-SWAP": "A-USDT"}
    swaps = {raw: Instrument(raw_symbol=raw, kind="perpetual", index=index) for raw, index in names.items()}
    stream = next(s for s in EXCHANGE.streams if s.name == "swaps")
    wanted = [Subscription("index_price", raw) for raw in swaps]
    session = Session("okx", stream, conn="okx/swaps/1", instruments=swaps, subscriptions=wanted)
    session.open(at(0))
    args = [arg["instId"] for sent in session.outbox for arg in json.loads(sent)["args"]]
    assert args == ["BTC-USD", "A-USDT"]
    for sent in session.outbox:
        session.sent(sent, at(0))
    session.outbox.clear()
    arg = {"channel": "index-tickers", "instId": "BTC-USD"}
    out = session.receive([json.dumps({"event": "subscribe", "arg": arg, "connId": "x"}).encode()], at(1))
    assert {r.raw_symbol for r in out if isinstance(r, Health)} == {"BTC-USD_UM-SWAP", "BTC-USD-SWAP"}
    row = {"instId": "BTC-USD", "idxPx": "10.5", "ts": "1763700000000"}
    out = session.receive([json.dumps({"arg": arg, "data": [row]}).encode()], at(2))
    told = [(r.raw_symbol, r.price, r.index) for r in out if isinstance(r, IndexPrice)]
    assert told == [("BTC-USD_UM-SWAP", "10.5", "BTC-USD"), ("BTC-USD-SWAP", "10.5", "BTC-USD")]
    session.unsubscribe([Subscription("index_price", "BTC-USD-SWAP")], at(3))
    assert not session.outbox, "the other swap still wants it"
    session.unsubscribe([Subscription("index_price", "BTC-USD_UM-SWAP")], at(4))
    assert [json.loads(sent)["args"] for sent in session.outbox] == [[arg]]


def test_options_are_listed_for_each_family_that_the_exchange_names() -> None:
    asked = next(request for request in EXCHANGE.listing.requests if "underlying" in request.url)
    body = b'{"code":"0","data":[["BTC-USD","ETH-USD","SOL-USD"]],"msg":""}'
    assert list(EXCHANGE.listing.rows(body)) == []
    assert [request.url for request in EXCHANGE.listing.more(asked, body)] == [
        f"https://www.okx.com/api/v5/public/instruments?instType=OPTION&instFamily={family}"
        for family in ("BTC-USD", "ETH-USD", "SOL-USD")
    ]
    assert not EXCHANGE.listing.more(Request("https://www.okx.com/api/v5/public/instruments?instType=SPOT"), b"{}")
