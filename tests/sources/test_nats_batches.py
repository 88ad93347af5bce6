"""Messages of the `nats` sink put together: each record once, in order, and what is missing is told."""

import random
from collections.abc import Iterator

import pytest

from aggregator.bus.bus import Bus
from aggregator.bus.history import Cursor
from aggregator.records import Trade
from aggregator.sinks.brokers.nats_client import BATCH, BEFORE, EPOCH, FENCE
from aggregator.sources.nats_batches import Batches, BatchOrigin, ForeignMessage, origin_of
from aggregator.sources.source import Passage

Message = tuple[BatchOrigin, str, list[int]]


def message(
    place: str, offsets: list[int], batch: tuple[int, int], count: int, before: int, epoch: str = "b"
) -> Message:
    return BatchOrigin(epoch, "tokyo", *batch, count, before), place, offsets


def batch(offsets: range, before: int, epoch: str = "b", places: int = 3) -> list[Message]:
    """The messages of a batch: its records go to so many places in turn."""
    groups = [list(offsets)[at::places] for at in range(places)]
    groups = [group for group in groups if group]
    bounds = offsets[0], offsets[-1]
    return [message(f"p{at}", group, bounds, len(groups), before, epoch) for at, group in enumerate(groups)]


def lines(offsets: list[int]) -> bytes:
    bus, found = Bus("b"), []
    bus.attach(lambda given: found.append(given.blob))
    for offset in offsets:
        bus.offset = offset - 1
        bus.publish([Trade(exchange="x", symbol="A/B", price="1", size="2", id=str(offset))])
    return b"".join(found)


def given(batches: Batches, messages: list[Message], *, follows: bool = True) -> list[object]:
    """What is told: offsets of records, and "gap"."""
    return list(_told(p for m in messages for p in batches.take(m[0], m[1], lines(m[2]), 1, follows=follows)))


def _told(passages: Iterator[Passage]) -> Iterator[object]:
    for passage in passages:
        if passage.gap is not None:
            yield "gap"
        yield from [record.offset for record in passage.records]


def test_records_come_in_order_whatever_the_order_of_their_messages() -> None:
    one, other = batch(range(1, 8), 0), batch(range(8, 20), 7)
    random.Random(1).shuffle(one)
    assert given(Batches(None, "expired"), [*one, *other]) == list(range(1, 20))


def test_a_batch_that_comes_again_gives_nothing_anew() -> None:
    batches = Batches(None, "expired")
    assert given(batches, batch(range(1, 8), 0) + batch(range(1, 8), 0)) == list(range(1, 8))
    assert batches.is_between


@pytest.mark.parametrize("stored", range(1, 4))
def test_a_batch_that_was_cut_short_comes_again_in_other_bounds(stored: int) -> None:
    """The writer was killed when some of its messages were stored; its next life begins further back."""
    before = [*batch(range(1, 10), 0), *batch(range(10, 20), 9)[:stored]]
    again = [*batch(range(4, 13), 0), *batch(range(13, 30), 12)]
    assert given(Batches(None, "expired"), before + again) == list(range(1, 30))


def test_a_life_that_follows_another_one() -> None:
    one = batch(range(1, 10), 0, "a") + batch(range(10, 12), 9, "a")
    again = batch(range(8, 14), 0, "a") + batch(range(1, 5), 0, "b") + batch(range(12, 14), 0, "a")
    assert given(Batches(None, "expired"), one + again) == [*range(1, 14), *range(1, 5)]


@pytest.mark.parametrize("lost", range(3))
def test_a_message_that_is_missing_is_told(lost: int) -> None:
    messages = batch(range(1, 10), 0) + batch(range(10, 19), 9) + batch(range(19, 28), 18)
    del messages[3 + lost]
    missing = set(range(10, 19)[lost::3])
    told = given(Batches(None, "expired"), messages)
    assert told == [*[n for n in range(1, 19) if n not in missing], "gap", *range(19, 28)]


def test_batches_that_are_missing_are_told() -> None:
    messages = batch(range(1, 10), 0) + batch(range(19, 28), 18)
    assert given(Batches(None, "expired"), messages) == [*range(1, 10), "gap", *range(19, 28)]


def test_records_that_the_sink_does_not_get_are_not_missing() -> None:
    messages = batch(range(1, 10), 0) + batch(range(500, 509), 9)
    assert given(Batches(None, "expired"), messages) == [*range(1, 10), *range(500, 509)]


def test_a_writer_that_knows_of_none_before_is_believed_where_nothing_can_be_between() -> None:
    messages = batch(range(1, 10), 0) + batch(range(10, 19), 0)
    assert given(Batches(None, "expired"), messages) == list(range(1, 19))
    lives = batch(range(1, 10), 0, "a") + batch(range(1, 10), 0, "b")
    assert given(Batches(None, "disconnect"), lives, follows=False) == [*range(1, 10), "gap", *range(1, 10)]


@pytest.mark.parametrize("cut", range(12))
def test_whoever_begins_behind_a_place_is_given_what_follows(cut: int) -> None:
    messages = batch(range(1, 10), 0) + batch(range(10, 30), 9)
    assert given(Batches(Cursor("b", cut), "expired"), messages) == list(range(cut + 1, 30))


def test_a_first_message_in_the_midst_of_a_batch_is_no_gap() -> None:
    messages = batch(range(1, 10), 0)[1:] + batch(range(10, 13), 9)
    assert given(Batches(None, "expired"), messages) == [2, 3, 5, 6, 8, 9, 10, 11, 12]


def test_what_the_journal_there_has_lost_is_told_though_its_place_is_not_new() -> None:
    batches = Batches(None, "expired")
    given(batches, batch(range(1, 10), 0))
    gap = '{"type":"gap","gap_id":"journal:b:3-9","conn":"journal","cause":"expired","phase":"close","ts_from":1'
    payload = f'{gap},"offset":9}}\n'.encode()
    for count in (1, 0):
        told = batches.take(BatchOrigin("b", "tokyo", 9, 9, 1, 0), "p", payload, 1, follows=True)
        assert [passage.gap.cause for passage in told if passage.gap is not None] == ["expired"] * count


def test_a_line_that_is_no_record_of_this_version_is_told_once() -> None:
    batches = Batches(None, "expired")
    origin = BatchOrigin("b", "tokyo", 1, 2, 1, 0)
    payload = b'{"type":"later","exchange":"x","offset":1}\n' + lines([2])
    told = batches.take(origin, "p", payload, 1, follows=True) + batches.take(origin, "p", payload, 1, follows=True)
    assert [record.offset for passage in told for record in passage.unread] == [1]
    assert [record.offset for passage in told for record in passage.records] == [2]


@pytest.mark.parametrize(
    "headers",
    [
        None,
        {},
        {EPOCH: "e", BATCH: "1-2/1"},
        {EPOCH: "e", BATCH: "1-2/1", BEFORE: "-1"},
        {EPOCH: "e", BATCH: "1-2", BEFORE: "0"},
        {EPOCH: "e", BATCH: "1-2/" + "9" * 5000, BEFORE: "0"},
        {EPOCH: "e", BATCH: "1-" + "9" * 19 + "/1", BEFORE: "0"},
        {EPOCH: "e", BATCH: "1-2/1", BEFORE: "9" * 19},
        {EPOCH: "e", BATCH: "1-2/1", BEFORE: "0", FENCE: "9" * 5000},
        {EPOCH: "e", BATCH: "1-2/1", BEFORE: "0", FENCE: ""},
        {EPOCH: "e", BATCH: "1-2/1", BEFORE: "0", FENCE: "\u0661"},
        {EPOCH: "", BATCH: "1-2/1", BEFORE: "0"},
    ],
)
def test_what_the_sink_did_not_write_is_known_by_its_headers(headers: dict[str, str] | None) -> None:
    with pytest.raises(ForeignMessage, match="none of the `nats` sink"):
        origin_of(headers)


@pytest.mark.parametrize("payload", [b"hello", b"\xff\x00", b"[]", b"5", b"[" * 100_000, b'{"offset":"8"}', b"{}\nx"])
def test_what_is_no_record_is_passed_over_with_its_message(payload: bytes) -> None:
    batches = Batches(None, "expired")
    assert given(batches, batch(range(1, 8), 0)) == list(range(1, 8))
    with pytest.raises(ForeignMessage, match="no record"):
        batches.take(BatchOrigin("b", "tokyo", 8, 9, 1, 7), "p", payload, 1, follows=True)
    assert batches.is_between
    assert given(batches, batch(range(8, 12), 7)) == list(range(8, 12)), "nothing of it counts"


@pytest.mark.parametrize(("first", "last", "count"), [(8, 8, 2), (8, 9, 1), (1, 10**18 - 1, 0), (8, 7, 1)])
def test_a_frame_has_as_many_records_as_its_headers_say(first: int, last: int, count: int) -> None:
    batches = Batches(None, "expired")
    with pytest.raises(ForeignMessage, match="tell of"):
        batches.take(
            BatchOrigin("b", "tokyo", first, last, 1, 7, fence=3), "p", lines([*range(8, 8 + count)]), 1, follows=True
        )


def test_a_barrier_has_no_records() -> None:
    assert Batches(None, "expired").take(BatchOrigin("b", "x", 7, 7, 1, 7, fence=3), "p", b"", 1, follows=True) == []


def test_a_record_behind_the_end_of_its_batch_is_none_of_it() -> None:
    batches = Batches(None, "expired")
    assert given(batches, [message("p", [1, 2, 10**17], (1, 2), 1, 0)]) == [1, 2]
    assert batches.is_between
