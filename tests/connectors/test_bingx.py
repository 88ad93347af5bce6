"""BingX: how its books are numbered, which way asks stand, and its words for intervals."""

import json

import pytest

from aggregator.exchange import Stream, Subscription
from aggregator.sequence import Verdict
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
