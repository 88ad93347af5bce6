"""Coinone's refusal, which names nothing and follows a confirmation."""

from msgspec import json

from aggregator.exchange import Subscription
from aggregator.records import SECOND_NS
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.coinone import EXCHANGE

WANTED = [Subscription("book", "KRW-BTC"), Subscription("book", "KRW-NOPE"), Subscription("trades", "KRW-BTC")]
ERROR = json.encode({"response_type": "ERROR", "error_code": 160012, "message": "Invalid Topic"})
PONG = json.encode({"response_type": "PONG"})


def at(second: int) -> Now:
    return Now(second * SECOND_NS, second * SECOND_NS)


def confirmed(channel: str, target: str) -> bytes:
    named = {"quote_currency": "KRW", "target_currency": target}
    return json.encode({"response_type": "SUBSCRIBED", "channel": channel, "data": named})


def test_only_the_pair_that_there_is_not_is_refused() -> None:
    session = Session("coinone", EXCHANGE.streams[0], conn="coinone/main.1#1", instruments={}, subscriptions=WANTED)
    session.open(at(1))
    assert [json.decode(frame)["topic"]["target_currency"] for frame in session.outbox] == ["BTC", "NOPE", "BTC"]
    answers = [confirmed("ORDERBOOK", "BTC"), confirmed("ORDERBOOK", "NOPE"), ERROR, confirmed("TRADE", "BTC"), PONG]
    for answer in answers:
        session.receive([answer], at(2))
    assert [(r.channel, r.raw_symbol, r.meaning) for r in session.refusals] == [("book", "KRW-NOPE", "final")]
    assert session.subscriptions.is_confirmed(("book", "KRW-BTC"))
    assert session.subscriptions.is_confirmed(("trades", "KRW-BTC"))
    assert not session.subscriptions.is_confirmed(("book", "KRW-NOPE"))
