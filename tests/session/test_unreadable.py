"""Frames that cannot be read: a run of them is one gap with a count, and a flood ends the connection."""

import gzip
from collections.abc import Callable, Iterable

from msgspec import structs

from aggregator.exchange import Event, Refused, Stream, Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap, Record, Trade
from aggregator.session.moment import Now
from aggregator.session.session import MOST_EVENTS, WEIGHED_BYTES, Session
from aggregator.session.unreadable import MOST_A_SECOND
from aggregator.wire import gunzip
from aggregator.wire.inflating import LARGEST_INFLATED_BYTES

SECOND = 1_000_000_000


def parse(frame: bytes) -> Iterable[Event]:
    if frame == b"deep":
        raise RecursionError
    return (Trade(raw_symbol="A", price=frame.decode("ascii"), size="1"),)


STREAM = Stream(
    url="wss://toy.example", channels={"trades": "t"}, subscribe=lambda _, __: (), parse=parse, patience=1e6
)


class Talk:
    """A session and the time."""

    def __init__(
        self,
        *,
        live: bool = True,
        inflate: Callable[[bytes], bytes] | None = None,
        parse: Callable[[bytes], Iterable[Event]] = parse,
    ) -> None:
        wanted = [Subscription("trades", "A")] if live else None
        stream = structs.replace(STREAM, inflate=inflate, parse=parse)
        self.session = Session("toy", stream, conn="c", instruments={}, subscriptions=wanted)
        self.ns = SECOND
        self.session.open(self.now)

    @property
    def now(self) -> Now:
        return Now(self.ns, self.ns)

    def say(self, *frames: bytes) -> list[Record]:
        return self.session.receive(frames, self.now)

    def wait(self, seconds: float) -> list[Record]:
        self.ns += int(seconds * SECOND)
        return self.session.tick(self.now)


def gaps(records: Iterable[Record]) -> list[tuple[int, int | None, int | None]]:
    return [(gap.ts_from, gap.ts_to, gap.missed) for gap in records if isinstance(gap, Gap)]


def many(frame: bytes) -> Iterable[Event]:
    return [Trade(raw_symbol="A", price="1", size="1") for _ in range(int(frame.strip()))]


def test_a_frame_of_very_many_records_is_none_and_hung_up_on() -> None:
    talk = Talk(parse=many)
    good = talk.say(b"%d" % MOST_EVENTS + b" " * WEIGHED_BYTES)
    assert len(good) == MOST_EVENTS
    assert talk.session.close_reason is None
    told = talk.say(b"%d" % (MOST_EVENTS + 1) + b" " * WEIGHED_BYTES)
    assert gaps(told) == [(SECOND, SECOND, 1)]
    assert len(told) == 1
    assert str(MOST_EVENTS + 1) in (talk.session.close_reason or "")


def test_one_is_told_at_once() -> None:
    told = Talk().say(b"\xff", b"5")
    assert gaps(told) == [(SECOND, SECOND, 1)]
    assert isinstance(told[1], Trade)


def test_those_that_come_together_are_one_gap_before_what_follows_them() -> None:
    told = Talk().say(b"1", b"\xff", b"\xff", b"deep", b"2", b"3", b"\xff", b"\xff", b"4")
    assert [r.missed if isinstance(r, Gap) else r.price for r in told] == ["1", 3, "2", "3", 2, "4"]  # type: ignore[attr-defined]


def test_those_that_come_one_by_one_are_one_gap_too() -> None:
    talk = Talk()
    assert gaps(talk.say(b"1", b"\xff")) == []
    for _ in range(5):
        talk.wait(0.1)
        assert talk.say(b"deep") == []
    talk.wait(0.1)
    told = talk.say(b"2", b"3")
    assert [r.missed if isinstance(r, Gap) else r.price for r in told] == [6, "2", "3"]  # type: ignore[attr-defined]
    assert gaps(told) == [(SECOND, SECOND + SECOND // 2, 6)]
    assert talk.say(b"4", b"\xff", b"5")[1].missed == 1  # type: ignore[attr-defined]


def test_one_behind_which_nothing_comes_is_told_all_the_same() -> None:
    talk = Talk()
    assert gaps(talk.say(b"\xff")) == []
    assert gaps(talk.wait(0.9)) == []
    assert gaps(talk.wait(0.2)) == [(SECOND, SECOND, 1)]
    talk.say(b"\xff")
    at = talk.ns
    assert gaps(talk.session.close("disconnect", talk.now)) == [(at, at, 1)]


def test_a_run_without_an_end_is_told_every_few_seconds() -> None:
    talk = Talk()
    told = []
    for _ in range(25):
        told += talk.say(b"\xff", b"deep") + talk.wait(0.9)
    assert [gap[2] for gap in gaps(told)] == [24, 24]


def test_a_book_without_numbers_is_in_doubt_from_the_first_of_them_on() -> None:
    def books(frame: bytes) -> Iterable[Event]:
        if frame == b"whole":
            return (BookSnapshot(raw_symbol="A", bids=[("1", "1")], asks=[("2", "1")]),)
        return (BookDelta(raw_symbol="A", bids=[(frame.decode("ascii"), "1")], asks=[]),)

    stream = structs.replace(STREAM, parse=books, channels={"book": "b"})
    session = Session("toy", stream, conn="c", instruments={})
    told = session.receive([b"whole", b"1.1", b"\xff"], Now(SECOND, SECOND))
    assert [type(r).__name__ for r in told] == ["BookSnapshot", "BookDelta", "Gap"]
    assert told[-1].channel == "book"  # type: ignore[attr-defined]
    told = session.receive([b"1.2", b"whole", b"1.3"], Now(2 * SECOND, 2 * SECOND))
    assert [(r.channel, r.phase) for r in told if isinstance(r, Gap)] == [(None, "close"), ("book", "close")]
    assert [type(r).__name__ for r in told] == ["Gap", "BookSnapshot", "Gap", "BookDelta"]


def test_a_parser_with_a_memory_reads_each_frame_once() -> None:
    seen: list[bytes] = []

    def noting(frame: bytes) -> Iterable[Event]:
        seen.append(frame)
        return parse(frame)

    session = Session("toy", structs.replace(STREAM, parse=noting), conn="c", instruments={})
    session.receive([b"\xff", b"\xff", b"1", b"2"], Now(1, 1))
    assert seen == [b"\xff", b"\xff", b"1", b"2"]


def test_a_flood_ends_the_connection_and_is_read_no_further() -> None:
    talk = Talk()
    told = talk.say(*[b"\xff"] * 10_000)
    assert len(gaps(told)) == 1
    assert talk.session.bad == MOST_A_SECOND + 1
    assert talk.session.close_reason == f"c: more than {MOST_A_SECOND} frames a second cannot be read"


def test_what_comes_more_slowly_ends_nothing() -> None:
    talk = Talk()
    for _ in range(20):
        talk.say(*[b"\xff"] * (MOST_A_SECOND // 2))
        talk.wait(1.1)
    assert talk.session.close_reason is None


def test_a_replay_reads_on() -> None:
    talk = Talk(live=False)
    talk.say(*[b"\xff"] * 10_000)
    assert talk.session.bad == 10_000
    assert talk.session.close_reason is None


def test_one_bomb_is_enough_and_is_told() -> None:
    """It takes a hundred times as long as another frame, so that a hundred a second never come."""
    talk = Talk(inflate=gunzip)
    told = talk.say(b"{\xff", gzip.compress(b" " * (LARGEST_INFLATED_BYTES + 1)), b"{\xff")
    assert gaps(told) == [(SECOND, SECOND, 2)]
    assert talk.session.close_reason is not None
    assert "inflates to more than" in talk.session.close_reason
    assert talk.session.is_garbage


def test_a_refusal_that_names_no_topic_of_ours_is_said_once() -> None:
    """OKX may refuse with a channel and no symbol: nothing can be told of it but its words."""

    def refuse(_: bytes) -> Iterable[Event]:
        return (Refused("not possible", channel="trades"),)

    stream = structs.replace(STREAM, parse=refuse)
    session = Session("toy", stream, conn="c", instruments={}, subscriptions=[Subscription("trades", "A")])
    now = Now(SECOND, SECOND)
    session.open(now)
    session.receive([b"1", b"2"], now)
    assert session.words.news == ["a refusal that cannot be tied to one topic: 'not possible'"]
    assert session.words.told == {session.words.news[0]: 2}
