"""Foxbit closes the connection behind a refusal, whatever else it carries."""

import json

from aggregator.exchange import Subscription
from aggregator.records import SECOND_NS, Health
from aggregator.session.moment import Now
from aggregator.session.refused import Memory
from aggregator.session.session import Session
from connectors.foxbit import EXCHANGE

HOUR = 3600
NO_MARKET = {
    "type": "subscribe",
    "event": "error",
    "message": "Invalid market 'nopebrl' for channel 'trades'",
    "params": {"channel": "trades", "market_symbol": "nopebrl"},
}


def asked(session: Session) -> list[str]:
    """The markets that the outbox asks for."""
    frames = [json.loads(frame) for frame in session.outbox]
    session.outbox.clear()
    return [str(entry["market_symbol"]) for frame in frames for entry in frame["params"] if "market_symbol" in entry]


def test_a_market_that_it_does_not_know_is_not_asked_for_with_each_listing() -> None:
    memory = Memory()
    (stream,) = EXCHANGE.streams
    wanted = [Subscription("trades", name) for name in ("btcbrl", "nopebrl")]

    def connect(at: int) -> Session:
        memory.forget()  # a listing has come
        session = Session("foxbit", stream, conn="c", instruments={}, subscriptions=wanted, memory=memory)
        session.open(Now(at * SECOND_NS, at * SECOND_NS))
        return session

    session = connect(1)
    assert asked(session) == ["btcbrl", "nopebrl"]
    told = session.receive([json.dumps(NO_MARKET).encode()], Now(SECOND_NS, SECOND_NS))
    words = "refused: Invalid market 'nopebrl' for channel 'trades'"
    assert [(r.raw_symbol, r.state, r.reason) for r in told if isinstance(r, Health)] == [("nopebrl", "down", words)]
    session.close("disconnect", Now(SECOND_NS, SECOND_NS))
    for at in (2, 900, HOUR - 1):
        assert asked(connect(at)) == ["btcbrl"]
    assert asked(connect(HOUR + 1)) == ["btcbrl", "nopebrl"]
