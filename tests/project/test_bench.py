"""How benches count and come to their ratios; what is measured is no matter of tests."""

import math
import os
import socket
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec import msgpack

from aggregator.bus.bus import encode_lines
from aggregator.feed.transports.http_peer import chunk, frame
from aggregator.records import Instrument, Lag, Record, Trade
from bench import callbacks, frames
from bench.against import BOTH, DAEMON, HOT, Round, least, order, rows
from bench.clients import Reader
from bench.elsewhere import feed_table
from bench.figures import prepared
from bench.together import known, names_for, quoted, renamed


def test_turns_are_a_b_b_a_and_every_other_round_begins_with_the_other() -> None:
    assert order(4, 0) == [0, 1, 1, 0, 0, 1, 1, 0]
    assert order(2, 1) == [1, 0, 0, 1]
    assert [order(1, number) for number in (0, 1)] == [[0, 1], [1, 0]]


@pytest.mark.parametrize("turns", [1, 2, 3, 4])
@pytest.mark.parametrize("number", [0, 1])
def test_both_sides_have_as_many_turns(turns: int, number: int) -> None:
    assert sorted(order(turns, number)) == [0] * turns + [1] * turns


def test_the_first_turn_only_warms_up() -> None:
    assert least([1.0, 4.0, 3.0]) == 3


def test_a_round_gives_this_over_the_other_and_geometric_means() -> None:
    found = Round({"a": 2.0, "b": 1.0, DAEMON: 9.0}, {"a": 1.0, "b": 2.0, DAEMON: 4.0}).ratios(["a", "b", DAEMON])
    assert found == pytest.approx({"a": 2, "b": 0.5, DAEMON: 2.25, HOT: 1, BOTH: 1.5})


def test_a_figure_of_one_side_is_in_no_mean() -> None:
    found = rows([Round({"a": 3.0, "new": 5.0}, {"a": 2.0, "old": 7.0})])
    assert [(row.name, row.ratio) for row in found] == [("a", 1.5), (HOT, pytest.approx(1.5))]


def test_the_daemon_alone_has_no_mean() -> None:
    assert Round({DAEMON: 3.0}, {DAEMON: 2.0}).ratios([DAEMON]) == {DAEMON: 1.5}


def test_a_row_is_the_median_of_the_rounds_and_their_spread() -> None:
    row, mean = rows([Round({"a": cost}, {"a": 10.0}) for cost in (10.0, 14.0, 12.0, 11.0, 40.0)])
    assert (row.name, mean.name) == ("a", HOT)
    assert row.costs == (12.0, 10.0)
    assert row.ratio == pytest.approx(1.2)
    assert row.quartiles == pytest.approx((1.1, 1.4))
    assert row.range == pytest.approx((1, 4))


def test_ratios_are_of_one_round_so_a_machine_that_slows_down_changes_none() -> None:
    (row, _) = rows([Round({"a": 2 * slow}, {"a": slow}) for slow in (1.0, 5.0, 3.0)])
    assert (row.costs, row.ratio, row.range) == ((6, 3), 2, (2, 2))


def test_the_mean_spreads_as_the_rounds_do_not_as_its_figures() -> None:
    both = [Round({"a": 4.0, "b": 1.0}, {"a": 1.0, "b": 4.0}), Round({"a": 1.0, "b": 4.0}, {"a": 4.0, "b": 1.0})]
    mean = rows(both)[-1]
    assert (mean.name, mean.costs) == (HOT, None)
    assert mean.range == pytest.approx((1, 1))
    assert not math.isclose(*rows(both)[0].range)


def test_one_round_has_no_spread_and_the_means_stand_last() -> None:
    found = rows([Round({DAEMON: 3.0, "a": 2.0}, {DAEMON: 2.0, "a": 1.0})])
    assert [row.name for row in found] == ["a", HOT, DAEMON, BOTH]
    assert found[0].cells() == ["a", 2.0, 1.0, "2.000", "2.000 to 2.000", "2.000 to 2.000"]


def test_what_one_round_could_not_measure_is_in_no_round_and_in_no_mean() -> None:
    found = rows([Round({"a": 2.0, "b": 9.0}, {"a": 1.0, "b": 1.0}), Round({"a": 2.0}, {"a": 1.0, "b": 1.0})])
    assert [(row.name, row.range) for row in found] == [("a", (2, 2)), (HOT, pytest.approx((2, 2)))]


def test_what_a_commit_cannot_read_is_named_with_the_reason_and_the_rest_is_measured(tmp_path: Path) -> None:
    (tmp_path / "kraken trade").write_bytes(msgpack.encode(frames.make("kraken", "trade", 50)))
    strange = frames.Capture("nowhere", "trade", [b"{}"], [], {}, {})
    (tmp_path / "nowhere trade").write_bytes(msgpack.encode(strange))
    figures, left_out = prepared(tmp_path)
    assert left_out == {"nowhere trade": "Unreadable: there is no connector for nowhere"}
    assert [*figures] == ["kraken trade"]
    assert figures["kraken trade"]() > 0


def test_the_feed_is_written_as_the_commit_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tomllib.loads(feed_table(Path("/f.sock"), ring=5)) == {"feed": {"listen": ["unix:/f.sock"], "ring": 5}}
    monkeypatch.setattr("bench.elsewhere.find_spec", lambda _: None)  # a commit of before
    assert tomllib.loads(feed_table(Path("/f.sock"))) == {"sinks": [{"type": "feed", "path": "/f.sock"}]}


def test_cases_speak_of_instruments_that_are_listed() -> None:
    """By feed, and of each the one most like it; answers by REST are no frames."""
    exchange = known("bigone")
    listed = [Instrument(raw_symbol="PCX-BTC"), Instrument(raw_symbol="BTCUSD", kind="perpetual")]
    names = names_for(exchange, listed)
    assert (names["spot"]["BTC-USDT"], names["contract-books"]["BTCUSDT"]) == ("PCX-BTC", "BTCUSD")
    lines = list(quoted(exchange, names))
    assert all(line.payload for line in lines)
    assert not any(b"BTC-USDT" in line.payload for line in lines)


def test_a_name_within_another_is_left_alone() -> None:
    assert renamed("btc_usdt btc_usdt_2", {"btc_usdt": "x", "btc_usdt_2": "btc_usdt_2"}) == "x btc_usdt_2"
    assert renamed("btc_usdt", None) == "btc_usdt"


def trades(*offsets: int) -> list[Record]:
    return [Trade(exchange="x", symbol="A/B", price="1.5", size="2", offset=offset) for offset in offsets]


def lag(first: int, last: int, missed: int) -> Record:
    return Lag(offset=last, offset_from=first, offset_to=last, missed=missed)


def counted(parts: Sequence[bytes], step: int = 1) -> dict[str, int]:
    """The counts of a reader to which these bytes come one behind the other."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = Reader(ours, step, 1 - step)
        for part in parts:
            theirs.sendall(part)
            assert reader.read()
        return {name: count for name, count in reader.counts().items() if name != "bytes"}


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("shape", [bytes, frame, chunk], ids=["lines", "websocket", "events"])
@pytest.mark.parametrize("size", [7, 100, 1000, 100_000])
def test_a_client_that_counts_finds_every_record_however_it_is_cut(shape: Callable[[bytes], bytes], size: int) -> None:
    data = b"".join(
        shape(encode_lines(some))
        for some in (trades(1, 2), trades(3), [*trades(4, 5), lag(6, 9, 4), *trades(10)], [lag(11, 11, 1)], trades(12))
    )
    hello = b'{"type":"hello","schema":1,"epoch":"x","offset":0}\n'
    found = counted(cut(hello + data, size))
    assert found == {"trades": 7, "lags": 2, "missed": 5, "wrong": 0, "last": 12}


@pytest.mark.parametrize(
    ("records", "wrong"),
    [
        (trades(1, 2, 4), 1),
        (trades(1, 2, 2, 3), 1),
        (trades(2), 1),
        ([*trades(1), lag(2, 4, 2), *trades(5)], 1),
        ([*trades(1), lag(3, 4, 2), *trades(5)], 1),
        ([*trades(1), lag(2, 4, 3), *trades(6)], 1),
    ],
    ids=["hole", "twice", "first", "count", "place", "behind"],
)
def test_a_client_that_counts_finds_what_is_neither_here_nor_told(records: list[Record], wrong: int) -> None:
    assert counted([encode_lines(records)])["wrong"] == wrong


def test_a_client_of_a_part_of_the_topics_counts_in_steps() -> None:
    data = encode_lines([*trades(1, 11, 21), lag(31, 51, 3), *trades(61)])
    assert counted([data], 10) == {"trades": 4, "lags": 1, "missed": 3, "wrong": 0, "last": 61}
    assert counted([encode_lines(trades(1, 11, 31))], 10)["wrong"] == 1


def test_every_frame_comes_to_the_callback_of_ours_as_one_object(tmp_path: Path) -> None:
    """The server raises where fewer or more come."""
    capture = frames.make("okx", "book", 300)
    command = callbacks.commands(tmp_path, capture.kind)["ours"]
    with callbacks.running("ours", command, capture, min(os.sched_getaffinity(0))) as client:
        client.given(capture.frames[:200], 0, 50)
        client.given(capture.frames[200:], 10_000, 10)
