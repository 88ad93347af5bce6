"""BingX: how its books are numbered, which way asks stand, and its words for intervals."""

import gzip
import json

import pytest

from aggregator.exchange import Stream, Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap
from aggregator.sequence import Verdict
from aggregator.session.moment import Now
from aggregator.session.session import Session
from aggregator.wire import gunzip
from connectors.bingx import EXCHANGE, frames
from connectors.bingx.wires import best_first


def stream(name: str) -> Stream:
    return next(stream for stream in EXCHANGE.streams if stream.name == name)


def test_the_first_change_has_the_next_number_and_later_ones_skip() -> None:
    """As probed in September 2026: numbers skip by two to nine, and the books stay right."""
    rule = stream("linear").sequence["book"]
    assert rule.joins(500, 501, 501, None) is Verdict.NEXT
    assert rule.joins(500, 503, 503, None) is Verdict.GAP
    assert rule.follows(501, 508, 508, None) is Verdict.NEXT
    assert rule.follows(501, 501, 501, None) is Verdict.STALE
    assert not rule.sure


def test_a_lower_number_of_a_later_time_ends_the_book_and_a_repeat_does_not() -> None:
    """No probe has seen either; a book whose numbers began anew would else stand still for ever."""

    def frame(action: str, number: int, time: int) -> bytes:
        data = {"action": action, "lastUpdateId": number, "bids": [["1", "2"]], "asks": [["3", "2"]], "time": time}
        return gzip.compress(json.dumps({"code": 0, "dataType": "A-USDT@incrDepth", "data": data}).encode())

    session = Session(
        "bingx", stream("linear"), conn="bingx", instruments={}, subscriptions=[Subscription("book", "A-USDT")]
    )
    session.open(Now(1, 1))
    numbers = (("all", 500, 1), ("update", 501, 2), ("update", 501, 2), ("update", 508, 3), ("update", 7, 4))
    found = [record for at, said in enumerate(numbers, 2) for record in session.receive([frame(*said)], Now(at, at))]
    assert [type(record) for record in found if type(record) in {BookSnapshot, BookDelta, Gap}] == [
        BookSnapshot,
        BookDelta,
        BookDelta,
        Gap,
    ]


@pytest.mark.parametrize(
    "asks",
    [
        [("100000.5", "1"), ("99999.5", "2")],
        [("0.30", "1"), ("0.2999", "2")],
        [("57781.66", "1"), ("57781.6", "2")],
    ],
)
def test_asks_are_turned_where_they_stand_worst_first(asks: list[tuple[str, str]]) -> None:
    assert best_first(asks) == asks[::-1]
    assert best_first(asks[::-1]) == asks[::-1]


def test_an_hour_has_a_word_of_its_own_on_spot_alone() -> None:
    for name, word in (("spot", "kline_60min"), ("linear", "kline_1h"), ("inverse", "kline_1h")):
        (asked,) = stream(name).subscribe([Subscription("candles", "BTC-USDT", "1h")], 7)
        assert json.loads(asked) == {"id": "7", "reqType": "sub", "dataType": f"BTC-USDT@{word}"}


def test_a_ping_may_come_as_it_is() -> None:
    assert frames.inflate(b"Ping") == b"Ping"
    assert frames.inflate(b'{"code":0}') == gunzip(b'{"code":0}')
