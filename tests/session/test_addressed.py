"""Streams whose address names the topics, so that no frame asks for them."""

from collections.abc import Sequence

from aggregator.exchange import Stream, Subscription
from aggregator.records import Health, Trade
from aggregator.session.moment import Now
from aggregator.session.session import Session

SECOND = 1_000_000_000
NOW = Now(1_760_000_000 * SECOND, SECOND)


def address(wanted: Sequence[Subscription]) -> str:
    return f"wss://toy.example/?names={','.join(s.raw_symbol for s in wanted)}"


STREAM = Stream(
    url=address,
    channels={"trades": "t"},
    subscribe=lambda _, __: (),
    parse=lambda frame: (Trade(raw_symbol=frame.decode(), price="1", size="1"),),
    acknowledges=False,
)


def test_a_topic_that_the_address_does_not_name_needs_another_connection() -> None:
    session = Session("toy", STREAM, conn="c", instruments={}, subscriptions=[Subscription("trades", "A")])
    session.open(NOW)
    assert [r.raw_symbol for r in session.receive([b"A"], NOW) if isinstance(r, Trade)] == ["A"]
    reasons = [session.reconnect_reason]
    out = session.subscribe([Subscription("trades", "B")], NOW)
    assert [r.raw_symbol for r in out if isinstance(r, Health)] == ["B"]
    reasons.append(session.reconnect_reason)
    assert reasons == [None, "more topics are wanted than the address names"]
    assert not session.outbox
