"""The tally: each gap once, each connection's yield once, whatever lives and dies."""

from typing import Any

import pytest

from aggregator.bus.bus import Batch
from aggregator.daemon.tally import EVENTS, LAG_S, MOST_REMEMBERED, Lags, StreamTally, Yield, kind_of_end
from aggregator.daemon.words import ToldLags
from aggregator.ingest.status import ConnectionStatus, PollStatus, ShardStatus
from aggregator.records import SECOND_NS, Gap, Health, Record, Summary, Trade
from aggregator.session.status import SessionStatus


def told(*records: Record) -> StreamTally:
    tally = StreamTally()
    tally.take(Batch(list(records)))
    return tally


def gap(id: str, phase: Any, **fields: Any) -> Gap:
    given: dict[str, Any] = {
        "channel": "book",
        "cause": "checksum",
        "ts_from": 1,
        "raw_symbol": "B",
        "conn": "a/main.1#1",
    } | fields
    return Gap(exchange="a", gap_id=id, phase=phase, **given)


def summary(conn: str, bye: str | None = None, **fields: Any) -> Summary:
    return Summary(exchange="a", conn=conn, ts_from=1, bye=bye, **fields)


def shard(conn: str, **session: Any) -> ShardStatus:
    line = ConnectionStatus(
        conn=conn, is_open=True, age_s=1, held=0, fetching=0, first=0, second=0, behind_ms=0,
        session=SessionStatus(**session),
    )  # fmt: skip
    return ShardStatus(
        name="a/main.1", topics=1, room=1, attempts=1, failures=0, trouble=None, dropped=0, connections=[line]
    )


def test_a_gap_is_counted_when_it_opens_or_when_it_is_told_as_over() -> None:
    parse_error = gap("3", "close", channel=None, cause="parse_error", raw_symbol=None)
    found = told(gap("1", "open"), gap("2", "open"), gap("1", "close", repair="none"), parse_error).of("a")
    assert found.gaps == {("book", "checksum"): 2, ("", "parse_error"): 1}
    assert found.resyncs == 1


def test_what_another_daemon_has_counted_is_not_counted_again() -> None:
    theirs = gap("1", "open")
    theirs.upstream = ("epoch", 7, "osaka")
    assert told(theirs).exchanges == {}


def test_connections_that_end_leave_what_they_have_brought() -> None:
    tally = told(summary("a/main.1#1", frames=5, bytes=50, records=4))
    found = tally.of("a")
    assert found.total([shard("a/main.1#1", frames=7, bytes=70)], [], records=6) == Yield(7, 70, 6, 0)
    bye = summary("a/main.1#1", "closed by the exchange: 1006", frames=3, bytes=30, records=3, unread=1)
    tally.take(Batch([bye]))
    assert found.total([shard("a/main.1#1", frames=8, bytes=80)], [], records=0) == Yield(8, 80, 7, 1)
    assert found.total([shard("a/main.1#2", frames=1, bytes=9)], [], records=1) == Yield(9, 89, 8, 1)
    assert found.ends == {"closed": 1}


def test_counters_never_fall() -> None:
    found = StreamTally().of("a")
    assert found.total([shard("a/main.1#1", frames=7, bytes=70)], [], records=6).records == 6
    assert found.total([], [], records=0) == Yield(7, 70, 6, 0)  # its last summary is not told yet


def test_a_poll_counts_under_its_own_name() -> None:
    poll = PollStatus(name="a/rest", topics=1, every_s=1, silent=0, session=SessionStatus(frames=2, bytes=20))
    assert StreamTally().of("a").total([], [poll], 0) == Yield(2, 20, 0, 0)


@pytest.mark.parametrize(
    ("bye", "kind"),
    [
        ("closed by the exchange: 1001 going away", "closed"),
        ("line lost", "lost"),
        ("a/main.1#1: silent for 60 s", "silent"),
        ("a/main.1#1: more than 100 frames a second cannot be read", "unreadable"),
        ("replaced: its 86400 s are nearly over", "replaced"),
        ("cannot connect to wss://a.example/ws: refused", "unreachable"),
        ("hung up: it does not read: 1048576 bytes wait to be sent", "abuse"),
        ("the exchange refuses the keys: no", "keys"),
        ("an error of our own", "error"),
        ("no longer wanted", "unwanted"),
        ("\x1b[31m", "other"),
    ],
)
def test_ends_are_of_few_kinds(bye: str, kind: str) -> None:
    assert kind_of_end("a/main.1#1", bye) == kind


def test_the_clock_of_a_connection_that_has_ended_is_forgotten() -> None:
    tally = told(summary("a/main.1#1", clock_offset_ms=1.5), summary("a/main.1#2", clock_offset_ms=-2.0))
    tally.take(Batch([summary("a/main.1#2", "line lost", clock_offset_ms=-2.0)]))
    assert tally.of("a").clock_offset_ms == {"a/main.1#1": 1.5}


def test_the_latest_events_of_a_topic_are_remembered_in_order() -> None:
    def health(state: Any, ts: int, raw_symbol: str = "B", **more: Any) -> Health:
        return Health(exchange="a", channel="book", raw_symbol=raw_symbol, state=state, ts_recv=ts, **more)

    lost = gap("1", "close", channel=None, cause="parse_error", raw_symbol=None, ts_recv=2, missed=3)
    tally = told(health("live", 1), lost, health("stalled", 3, reason="the exchange is at 9, we are at 7"))
    assert [event.words for event in tally.events("book", "a", "B")] == [
        "live",
        "gap closed: parse_error, 3 missed",
        "stalled: the exchange is at 9, we are at 7",
    ]
    for ts in range(EVENTS * 2):
        tally.take(Batch([health("live", ts, "C")]))
    assert len(tally.events("book", "a", "C")) == EVENTS + 1  # and that of the connection
    for number in range(MOST_REMEMBERED):
        tally.take(Batch([health("live", 1, f"X{number}")]))
    assert len(tally._events) == MOST_REMEMBERED


def test_lags_fall_into_buckets() -> None:
    lags = Lags()
    for seconds in (-0.5, 0.001, 0.2, 99.0):
        lags.add(seconds)
    assert [lags.counts[0], lags.counts[LAG_S.index(0.25)], lags.counts[-1]] == [2, 1, 1]
    assert lags.sum_s == pytest.approx(99.201)


def test_a_lag_is_that_of_a_record_that_says_when_it_was_sent() -> None:
    tally = StreamTally()
    live: dict[str, Any] = {"exchange": "a", "price": "1", "size": "1", "source": "ws", "ts_recv": 3 * SECOND_NS}
    tally.measure(
        [Trade(**live), Trade(**live | {"source": "backfill"}, ts_event=1), Trade(**live, ts_event=SECOND_NS)]
    )
    assert {key: lags.sum_s for key, lags in tally.lags.items()} == {("a", "trades"): 2.0}


def test_what_several_processes_have_counted_of_one_exchange_adds_up_and_takes_the_place_of_what_they_told() -> None:
    tally, counts = StreamTally(), [1, *[0] * len(LAG_S)]
    for _ in range(2):
        tally.told_lags([ToldLags("a", "trades", counts, 0.5), ToldLags("a", "trades", counts, 1.5)])
    assert (tally.lags["a", "trades"].counts[0], tally.lags["a", "trades"].sum_s) == (2, 2.0)


def test_a_batch_without_anything_of_interest_is_not_looked_at() -> None:
    assert told(Trade(exchange="a", price="1", size="1")).exchanges == {}
