"""Gate: what one frame alone cannot show."""

import json

from aggregator.exchange import Since, Stream, Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Record, Trade
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.gate import EXCHANGE

SECOND = 10**9
START = 1_795_168_800 * SECOND
SPOT, USDT, *_, DELIVERY, OPTIONS = EXCHANGE.streams
PAIR, DATED = "BTC_USDT", "BTC_USDT_20261225"


def heard(stream: Stream, wanted: Subscription, *frames: bytes) -> tuple[Session, list[Record]]:
    session = Session("gate", stream, conn="x#1", instruments={}, subscriptions=[wanted])
    session.open(Now(START, 0))
    session.outbox.clear()
    out: list[Record] = []
    for at, frame in enumerate(frames, 1):
        out += session.receive([frame], Now(START + at * SECOND, at * SECOND))
    session.tick(Now(START + 9 * SECOND, 9 * SECOND))
    return session, [record for record in out if not isinstance(record, Health)]


def book(u: int, first: int | None = None, **levels: list[list[str]]) -> bytes:
    row = {"t": START // 10**6, "s": f"ob.{PAIR}.400", "u": u}
    row |= {"full": True} if first is None else {"U": first}
    return json.dumps({"channel": "spot.obu", "result": row | levels, "event": "update"}).encode()


def trade(number: int, first: int | None = None) -> bytes:
    row = {"id": number, "id_market": number, "create_time": 1, "side": "buy", "currency_pair": PAIR}
    row |= {"amount": "1", "price": "2", "range": f"{first or number}-{number}"}
    return json.dumps({"channel": "spot.trades", "event": "update", "result": row}).encode()


def test_each_topic_is_asked_for_in_a_frame_of_its_own() -> None:
    wanted = [Subscription("book", PAIR), Subscription("candles", PAIR, "1w")]
    session = Session("gate", USDT, conn="usdt#1", instruments={}, subscriptions=wanted)
    session.open(Now(START, 0))
    asked = [json.loads(sent) for sent in session.outbox]
    assert [(a["id"], a["channel"], a["event"], a["payload"]) for a in asked] == [
        (1, "futures.obu", "subscribe", ["ob.BTC_USDT.400"]),
        (2, "futures.candlesticks", "subscribe", ["7d", "BTC_USDT"]),
    ]


def test_sizes_of_futures_are_asked_for_with_their_parts() -> None:
    """Since 2026 they are cut to whole contracts for who does not send this header, in the handshake and by REST."""
    parts = {"X-Gate-Size-Decimal": "1"}
    assert [bool(s.headers) for s in EXCHANGE.streams] == [False, True, True, True, True, False]
    assert USDT.headers == DELIVERY.headers == parts
    headers = {request.url.partition("v4/")[2]: request.headers for request in EXCHANGE.listing.requests}
    assert headers["futures/usdt/contracts"] == headers["delivery/usdt/contracts"] == parts
    assert not headers["spot/currency_pairs"]
    assert DELIVERY.snapshot is not None
    assert DELIVERY.snapshot.request is not None
    assert DELIVERY.snapshot.request(DATED).headers == parts


def test_a_trade_of_size_0_is_counted_and_said_once() -> None:
    row = {"contract": PAIR, "id": 7, "price": "10", "size": 0, "create_time": 1, "create_time_ms": 1000}
    frame = json.dumps({"channel": "futures.trades", "event": "update", "result": [row]}).encode()
    session, out = heard(USDT, Subscription("trades", PAIR), frame, frame)
    assert out == []
    said = "what is sent means nothing: 'a trade of size 0'"
    assert (session.words.told, session.words.news) == ({said: 2}, [said])


def test_the_older_books_say_how_many_levels_they_want() -> None:
    (dated,) = DELIVERY.subscribe([Subscription("book", DATED)], 1)
    (option,) = OPTIONS.subscribe([Subscription("book", "BTC_USDT-20261225-90000-C")], 1)
    assert json.loads(dated)["payload"] == [DATED, "100ms", "100"]
    assert json.loads(option)["payload"] == ["BTC_USDT-20261225-90000-C", "100ms", "50"]


def test_a_book_begins_whole_and_goes_on_past_frames_without_levels() -> None:
    whole, empty = book(7, b=[["1", "5"]], a=[["2", "5"]]), book(9, 8)
    session, out = heard(SPOT, Subscription("book", PAIR), whole, empty, book(12, 10, a=[["2", "0"]]))
    assert [type(record) for record in out] == [BookSnapshot, BookDelta, BookDelta]
    assert not session.outbox


def test_a_book_with_a_hole_is_left_and_asked_for_again() -> None:
    session, out = heard(SPOT, Subscription("book", PAIR), book(7, b=[["1", "5"]], a=[["2", "5"]]), book(10, 9))
    assert [type(record) for record in out] == [BookSnapshot, Gap]
    asked = [json.loads(sent) for sent in session.outbox]
    assert [(a["event"], a["payload"]) for a in asked if a["channel"] == "spot.obu"] == [
        ("unsubscribe", ["ob.BTC_USDT.400"]),
        ("subscribe", ["ob.BTC_USDT.400"]),
    ]


def test_changes_of_the_older_book_wait_for_the_whole_of_it() -> None:
    row = {"t": 1, "s": DATED, "U": 5, "u": 6, "b": [{"p": "1", "s": 0}], "a": []}
    frame = json.dumps({"channel": "futures.order_book_update", "event": "update", "result": row}).encode()
    session, out = heard(DELIVERY, Subscription("book", DATED), frame)
    assert out == []
    (wanted,) = session.wanted
    assert wanted.request.url.endswith(f"/delivery/usdt/order_book?contract={DATED}&limit=100&with_id=true")
    body = b'{"id":4,"update":1790000166.35,"bids":[{"p":"1","s":3},{"p":"0.5","s":3}],"asks":[{"p":"2","s":3}]}'
    records = session.answer(wanted, body, Now(START + 10 * SECOND, 10 * SECOND))
    assert [type(record) for record in records] == [BookSnapshot, BookDelta]


def test_trades_that_are_missing_show_in_the_numbers_of_the_market() -> None:
    _, out = heard(SPOT, Subscription("trades", PAIR), trade(1), trade(4, first=2), trade(6))
    assert [type(record) for record in out] == [Trade, Trade, Gap, Trade]
    assert SPOT.backfill is not None
    request = SPOT.backfill.request(PAIR, Since(4, START))
    assert request.url.endswith(f"/spot/trades?currency_pair={PAIR}&limit=1000&from={START // SECOND}")


def test_a_ping_says_the_time() -> None:
    assert OPTIONS.heartbeat is not None
    assert callable(OPTIONS.heartbeat.frame)
    assert OPTIONS.heartbeat.frame(START) == b'{"time":1795168800,"channel":"options.ping"}'


def test_options_are_listed_for_each_underlying_that_the_exchange_names() -> None:
    asked = next(request for request in EXCHANGE.listing.requests if request.url.endswith("options/underlyings"))
    body = b'[{"name":"BTC_USDT","index_time":1790000000,"index_price":"9.1"},{"name":"SOL_USDT","index_price":"1"}]'
    assert list(EXCHANGE.listing.rows(body)) == []
    assert [request.url.partition("v4/")[2] for request in EXCHANGE.listing.more(asked, body)] == [
        "options/contracts?underlying=BTC_USDT",
        "options/contracts?underlying=SOL_USDT",
    ]


def test_perpetual_contracts_are_listed_to_the_last_page() -> None:
    """Pages are of 100, says the exchange's own client library (2026-11); a list of more than that is all of them."""
    asked = next(request for request in EXCHANGE.listing.requests if request.url.endswith("futures/usdt/contracts"))

    def contracts(count: int) -> bytes:
        return b"[" + b",".join([b'{"name":"BTC_USDT"}'] * count) + b"]"

    (second,) = EXCHANGE.listing.more(asked, contracts(100))
    assert second.url == f"{asked.url}?limit=100&offset=100"
    assert second.headers == asked.headers
    (third,) = EXCHANGE.listing.more(second, contracts(100))
    assert third.url == f"{asked.url}?limit=100&offset=200"
    for count in (0, 99, 700):
        assert list(EXCHANGE.listing.more(third, contracts(count))) == []
    spot = next(request for request in EXCHANGE.listing.requests if "spot" in request.url)
    assert list(EXCHANGE.listing.more(spot, contracts(100))) == []
