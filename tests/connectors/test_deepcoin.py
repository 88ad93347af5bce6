"""Deepcoin's books: asked for by the step of their prices, told by another name, and repaired by asking once more."""

import json

from aggregator.exchange import Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Instrument, Record
from aggregator.session.moment import Now
from aggregator.session.naming import spoken
from aggregator.session.session import Session
from connectors.deepcoin import EXCHANGE

SYMBOL = "ABC-USDT-SWAP"
INSTRUMENT = Instrument(raw_symbol=SYMBOL, kind="perpetual", base="ABC", quote="USDT", tick_size="0.0000001")
NAME = "DeepCoin_ABCUSDT_0.0000001"
CONFIRMED = json.dumps(
    {"a": "RecvTopicAction", "m": "Success", "r": [{"d": {"A": "1", "L": 1, "T": "25", "F": NAME, "R": -1}}]}
).encode()


def levels(kind: str, *rows: tuple[str, float, float]) -> bytes:
    changes = [{"d": {"I": "ABCUSDT", "D": side, "P": price, "V": size}} for side, price, size in rows]
    return json.dumps({"a": "PMO", "t": kind, "r": changes, "tt": 5, "mt": 5}, separators=(",", ":")).encode()


WHOLE = levels("f", ("0", 1, 5), ("1", 2, 5))


class Talk:
    def __init__(self) -> None:
        (stream,) = (stream for stream in EXCHANGE.streams if stream.name == "contract-books")
        wanted = [Subscription("book", SYMBOL)]
        self.at = 1
        self.session = Session(
            "deepcoin", stream, conn="deepcoin", instruments={SYMBOL: INSTRUMENT}, subscriptions=wanted
        )
        self.session.open(Now(1, 1))

    def hear(self, *frames: bytes) -> list[Record]:
        self.at += 1
        return list(self.session.receive(list(frames), Now(self.at, self.at)))


def test_a_book_is_asked_for_by_the_step_of_its_prices_as_it_is_spelled() -> None:
    (stream,) = (stream for stream in EXCHANGE.streams if stream.name == "contract-books")
    (frame,) = spoken(stream, {SYMBOL: INSTRUMENT}).subscribe([Subscription("book", SYMBOL)], 7)
    assert json.loads(frame)["SendTopicAction"] == {
        "Action": "1",
        "FilterValue": NAME,
        "LocalNo": 7,
        "ResumeNo": -1,
        "TopicID": "25",
    }


def test_what_comes_by_the_shorter_name_is_of_that_book_and_a_whole_one_begins_anew() -> None:
    found = Talk().hear(CONFIRMED, WHOLE, levels("i", ("0", 1.5, 2)), WHOLE)
    assert [(type(record), record.raw_symbol) for record in found if not isinstance(record, Health)] == [
        (BookSnapshot, SYMBOL),
        (BookDelta, SYMBOL),
        (BookSnapshot, SYMBOL),
    ]


def test_a_crossed_book_is_a_hole_which_the_next_whole_one_closes() -> None:
    talk = Talk()
    found = talk.hear(CONFIRMED, WHOLE, levels("i", ("0", 2.5, 2)))
    assert isinstance(found[-1], Gap)
    assert found[-1].cause == "crossed"
    assert talk.session.reconnect_reason is None
    closed = talk.hear(CONFIRMED, WHOLE)
    assert [type(record) for record in closed] == [BookSnapshot, Gap]


def test_what_comes_of_a_book_that_is_not_wanted_any_more_is_left_out() -> None:
    talk = Talk()
    talk.hear(CONFIRMED, WHOLE)
    talk.session.unsubscribe([Subscription("book", SYMBOL)], Now(9, 9))
    assert [record for record in talk.hear(levels("i", ("0", 1.5, 2)), WHOLE) if not isinstance(record, Gap)] == []


def test_liquidations_are_one_topic_of_all_markets() -> None:
    (stream,) = (stream for stream in EXCHANGE.streams if stream.name == "contracts")
    wanted = [Subscription("liquidations", name) for name in (SYMBOL, "XYZ-USDT-SWAP")]
    asked = [json.loads(frame) for frame in spoken(stream, {SYMBOL: INSTRUMENT}).subscribe(wanted, 7)]
    assert asked == [{"SendTopicAction": {"Action": "1", "LocalNo": 7, "TopicID": "30"}}]
