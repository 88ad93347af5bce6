"""A stream that wants a login: it comes first, without keys, and a session ends where the keys are not taken."""

import json

import pytest

from aggregator.exchange import Stream, Subscription
from aggregator.records import Health
from aggregator.session.moment import Now
from aggregator.session.session import Session
from tests.support.toy import toy

LOGIN = b'{"op":"login"}'
TOPIC = Subscription("trades", "A")
DENIED, READY, TRADE = b'{"denied":"no such key"}', b'{"ready":true}', b'{"s":"A","n":1,"price":"5"}'


def session(subscriptions: tuple[Subscription, ...] | None = (TOPIC,), **changes: object) -> Session:
    stream = toy(login=LOGIN, sign=lambda _, __, frame: frame, **changes).streams[0]
    assert isinstance(stream, Stream)
    return Session("toy", stream, conn="toy/main.1#1", instruments={}, subscriptions=subscriptions)


@pytest.mark.parametrize("greets", [True, False])
def test_the_login_comes_first_and_topics_behind_it_or_once_it_is_taken(greets: bool) -> None:
    opened = session(greets=greets)
    opened.open(Now(0, 0))
    assert opened.outbox.popleft() == LOGIN
    assert len(opened.outbox) == (0 if greets else 1)
    opened.receive([READY], Now(1, 1))
    assert [json.loads(frame)["topics"] for frame in opened.outbox] == [["trades:A"]]


def test_keys_that_are_not_taken_end_the_connection_and_its_topics_are_down() -> None:
    opened = session(greets=True)
    opened.open(Now(0, 0))
    opened.receive([DENIED], Now(1, 1))
    assert opened.denied == "no such key"
    assert opened.close_reason == "the exchange refuses the keys: no such key"
    told = opened.close("disconnect", Now(2, 2))
    assert [(record.channel, record.state) for record in told if isinstance(record, Health)] == [("trades", "down")]


def test_a_replay_of_a_refusal_reads_on() -> None:
    """A capture may hold what came after: of a connection that was replayed nothing ends it but the capture."""
    opened = session(None)
    opened.open(Now(0, 0))
    opened.receive([DENIED], Now(1, 1))
    assert opened.close_reason is None
    assert len(opened.receive([TRADE], Now(2, 2))) == 1
