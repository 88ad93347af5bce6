"""Batches as messages."""

from hypothesis import given
from hypothesis import strategies as st

from aggregator.bus.bus import Batch
from aggregator.records import Trade
from aggregator.sinks.messages import Chain, messages_of

PLACES = ("a", "b", "c")


@given(
    st.lists(st.tuples(st.sampled_from(PLACES), st.integers(1, 60)), min_size=1, max_size=30),
    st.integers(60, 400),
    st.none() | st.integers(1, 5),
)
def test_every_record_is_in_one_message_or_too_large(
    rows: list[tuple[str, int]], most_bytes: int, most_records: int | None
) -> None:
    records = [
        Trade(exchange=place, symbol="A/B", id="x" * size, price="1", size="2", offset=number)
        for number, (place, size) in enumerate(rows)
    ]
    batch = Batch(list(records), "e")
    places = [record.exchange for record in records]
    messages, too_large = messages_of(batch, places, most_bytes=most_bytes, most_records=most_records)
    assert sorted(too_large + [at for message in messages for at in message.which]) == list(range(len(rows)))
    assert all(len(batch.lines[at]) > most_bytes for at in too_large)
    for message in messages:
        assert message.which
        assert len(message.payload) <= most_bytes
        assert len(message.which) <= (most_records or len(rows))
        assert message.payload == b"".join(batch.lines[at] for at in message.which)
        assert {records[at].exchange for at in message.which} == {message.place}
        assert (message.first, message.last) == (message.which[0], message.which[-1])
    for place in PLACES:
        order = [at for message in messages if message.place == place for at in message.which]
        assert order == sorted(order)


def test_messages_are_as_few_as_they_can_be() -> None:
    records = [Trade(exchange="ab"[number % 2], symbol="A/B", price="1", size="2") for number in range(10)]
    messages, _ = messages_of(Batch(list(records), "e"), list("ab" * 5), most_bytes=10_000)
    assert [message.which for message in messages] == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]


def test_records_that_travel_alone_keep_the_order_of_the_stream() -> None:
    records = [Trade(exchange="ab"[number % 2], symbol="A/B", price="1", size="2", offset=number) for number in (3, 4)]
    records.append(Trade(exchange="a", symbol="A/B", price="1" * 999, size="2", offset=5))
    messages, too_large = messages_of(Batch(list(records), "e"), list("aba"), most_bytes=500, most_records=1)
    assert [(message.place, message.which, message.first, message.last) for message in messages] == [
        ("a", [0], 3, 3),
        ("b", [1], 4, 4),
    ]
    assert too_large == [2]


def test_each_message_names_the_one_before_it_at_its_place() -> None:
    chain = Chain()
    linked = []
    for first in (1, 11):
        records = [Trade(exchange="ab"[n % 2], symbol="A/B", price="1", size="2", offset=first + n) for n in range(6)]
        batch = Batch(list(records), "e")
        messages, _ = messages_of(batch, list("ab" * 3), most_bytes=10_000, most_records=2)
        linked += [(message.place, message.last, previous) for message, previous in chain.linked(messages)]
        assert chain.linked(messages) == chain.linked(messages), "a batch that comes again is linked alike"
        chain.passed(messages)
    assert linked == [
        ("a", 3, 0),
        ("a", 5, 3),
        ("b", 4, 0),
        ("b", 6, 4),
        ("a", 13, 5),
        ("a", 15, 13),
        ("b", 14, 6),
        ("b", 16, 14),
    ]
