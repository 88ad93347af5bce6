"""Crypto.com: what one frame alone cannot show."""

import json

from aggregator.exchange import Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Instrument, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.cryptocom import EXCHANGE

SECOND = 10**9
START = 1_795_168_800 * SECOND
MAIN, CONTRACTS, _ = EXCHANGE.streams
PERP = "BTCUSD-PERP"


def heard(*frames: bytes) -> tuple[Session, list[Record]]:
    session = Session("cryptocom", MAIN, conn="main#1", instruments={}, subscriptions=[Subscription("book", PERP)])
    session.open(Now(START, 0))
    session.outbox.clear()
    out: list[Record] = []
    for at, frame in enumerate(frames, 1):
        out += session.receive([frame], Now(START + at * SECOND, at * SECOND))
    session.tick(Now(START + 9 * SECOND, 9 * SECOND))
    return session, [record for record in out if not isinstance(record, Health)]


def book(u: int, before: int | None = None) -> bytes:
    sides = {"bids": [["1", "5", "1"]], "asks": [["2", "5", "1"]]}
    row = {"t": START // 10**6, "u": u} | (sides if before is None else {"update": sides, "pu": before})
    kind = "book" if before is None else "book.update"
    result = {"instrument_name": PERP, "subscription": f"book.{PERP}.50", "channel": kind, "depth": 50, "data": [row]}
    return json.dumps({"id": -1, "method": "subscribe", "code": 0, "result": result}).encode()


def asked(*wanted: Subscription) -> list[str]:
    stream = next(s for s in EXCHANGE.streams if wanted[0].channel in s.channels)
    (frame,) = stream.subscribe(wanted, 1)
    names: list[str] = json.loads(frame)["params"]["channels"]
    return names


def test_channels_that_share_a_topic_ask_for_it_once() -> None:
    candles = Subscription("candles", "BTC_USDT", "1w")
    names = asked(Subscription("bbo", "BTC_USDT"), Subscription("ticker", "BTC_USDT"), candles)
    assert names == ["ticker.BTC_USDT", "candlestick.7D.BTC_USDT"]


def test_funding_has_two_topics_and_an_index_its_own_name() -> None:
    wanted = [Subscription("funding", PERP), Subscription("index_price", PERP)]
    listed = {PERP: Instrument(raw_symbol=PERP, kind="perpetual", index="BTCUSD-INDEX")}
    session = Session("cryptocom", EXCHANGE.streams[2], conn="x#1", instruments=listed, subscriptions=wanted)
    session.open(Now(START, 0))
    names = [name for frame in session.outbox for name in json.loads(frame)["params"]["channels"]]
    assert names == [f"funding.{PERP}", f"estimatedfunding.{PERP}", "index.BTCUSD-INDEX"]


def test_books_come_as_changes_of_ten_milliseconds() -> None:
    (frame,) = MAIN.subscribe([Subscription("book", PERP)], 3)
    assert json.loads(frame) == {
        "id": 3,
        "method": "subscribe",
        "params": {
            "channels": [f"book.{PERP}.50"],
            "book_subscription_type": "SNAPSHOT_AND_UPDATE",
            "book_update_frequency": 10,
        },
    }


def test_a_book_goes_on_where_changes_name_the_number_before_even_if_it_is_their_own() -> None:
    session, out = heard(book(700), book(900, 700), book(900, 900), book(1000, 900))
    assert [type(record) for record in out] == [BookSnapshot, BookDelta, BookDelta, BookDelta]
    assert not session.outbox


def test_a_book_with_a_hole_is_left_and_asked_for_again() -> None:
    session, out = heard(book(700), book(1000, 900))
    assert [type(record) for record in out] == [BookSnapshot, Gap]
    frames = [json.loads(sent) for sent in session.outbox]
    assert [(f["method"], f["params"]["channels"]) for f in frames] == [
        ("unsubscribe", [f"book.{PERP}.50"]),
        ("subscribe", [f"book.{PERP}.50"]),
    ]


def test_a_heartbeat_is_answered() -> None:
    session, _ = heard(b'{"id":1790114291578,"method":"public/heartbeat","code":0}')
    assert list(session.outbox) == [b'{"id":1790114291578,"method":"public/respond-heartbeat"}']


def test_an_answer_confirms_every_channel_of_a_topic() -> None:
    wanted = [Subscription("mark_price", PERP), Subscription("open_interest", PERP)]
    session = Session("cryptocom", CONTRACTS, conn="contracts#1", instruments={}, subscriptions=wanted)
    session.open(Now(START, 0))
    out: list[Record] = []
    for wire, row in (("mark", {"v": "1", "t": 1}), ("ticker", {"t": 1, "oi": "5"})):
        result = {"instrument_name": PERP, "subscription": f"{wire}.{PERP}", "channel": wire, "data": [row]}
        frame = json.dumps({"id": 1, "method": "subscribe", "code": 0, "result": result}).encode()
        out += session.receive([frame], Now(START, SECOND))
    said = [(r.channel, r.state) for r in out if isinstance(r, Health)]
    assert said == [("mark_price", "syncing"), ("open_interest", "syncing")]
