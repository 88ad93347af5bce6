"""Names at targets: injective, and of characters that the target takes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.records import Gap, Trade
from aggregator.sinks import naming
from aggregator.sinks.naming import NATS, Naming, Places, topic_parts

KINDS = {name: value for name, value in vars(naming).items() if isinstance(value, Naming)}
ALLOWED = {
    "AMQP": r"[^.*#\s]+",
    "INFLUX": r"[^,=\s\\]+",
    "KAFKA": r"[A-Za-z0-9_-]+",
    "MQTT": r"[^/+#$\0]+",
    "NATS": r"[^.*>\s]+",
    "REDIS": r"[^:\s]+",
    "KAFKA_KEY": r"[^:\s]+",
    "ZMQ": r"[^:\s]+",
}
TEXTS = st.none() | st.text(max_size=8) | st.text(alphabet="/:.%_-~@+#$*> 0a2F", max_size=8)


def test_each_kind_of_target_is_looked_at() -> None:
    assert KINDS.keys() == ALLOWED.keys()


@pytest.mark.parametrize("kind", KINDS)
@given(one=TEXTS, other=TEXTS)
def test_no_two_texts_share_a_name_and_each_may_stand_there(kind: str, one: str | None, other: str | None) -> None:
    names = [KINDS[kind].part(text) for text in (one, other)]
    assert (names[0] == names[1]) == (one == other)
    assert all(re.fullmatch(ALLOWED[kind], name) for name in names)


@pytest.mark.parametrize("kind", KINDS)
@given(one=st.tuples(TEXTS, TEXTS), other=st.tuples(TEXTS, TEXTS))
def test_no_two_topics_share_a_name(kind: str, one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (KINDS[kind].join(*one) == KINDS[kind].join(*other)) == (one == other)


def test_symbols_stay_readable() -> None:
    assert KINDS["NATS"].join("trades", "kraken", "BTC/USD:USD") == "trades.kraken.BTC/USD:USD"
    assert KINDS["NATS"].part(".BXBT") == "%2EBXBT"
    assert KINDS["MQTT"].join("candles", "okx", "BTC/USDT") == "candles/okx/BTC%2FUSDT"
    assert KINDS["REDIS"].part("BTC/USD:USD") == "BTC/USD%3AUSD"
    assert KINDS["KAFKA"].part("BTC-USD") == "BTC-2DUSD"
    assert [KINDS["KAFKA"].part(text) for text in (None, "")] == ["-none", "-empty"]


def test_the_topic_of_a_record() -> None:
    trade = Trade(exchange="x", symbol=None, raw_symbol="XBTUSD", price="1", size="2")
    assert topic_parts(trade) == ("trades", "x", "XBTUSD")
    gap = Gap(exchange="x", symbol=None, gap_id="1", phase="open", cause="disconnect", ts_from=1)
    assert topic_parts(gap) == ("gap", "x", None)


def test_places_are_those_of_the_topics() -> None:
    records = [
        Trade(exchange="x", symbol="A/B", price="1", size="2"),
        Gap(exchange="x", symbol="A/B", gap_id="1", phase="open", cause="stalled", channel="trades", ts_from=1),
        Gap(exchange="x", symbol="A/B", gap_id="2", phase="open", cause="stalled", channel="book", ts_from=1),
        Trade(exchange="x", symbol=None, raw_symbol="AB", price="1", size="2"),
    ]
    by_symbol, by_exchange = Places(NATS, "m."), Places(NATS, by_symbol=False)
    for _ in range(2):  # asked once more, a place is the same
        assert by_symbol.of(records) == [
            "m.trades.x.A/B",
            "m.trades.x.A/B",
            "m.book.x.A/B",
            "m.trades.x.AB",
        ]
        assert by_exchange.of(records) == ["trades.x", "trades.x", "book.x", "trades.x"]
        assert by_exchange.of(records[1:2]) == ["trades.x"]
        assert by_exchange.of([records[0], records[3]]) == ["trades.x"] * 2, "all are of one type and exchange"
