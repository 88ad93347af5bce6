"""What an exchange tells first of the time before a subscription is flagged in one way, whosever message it is."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec import structs

from aggregator.catalog.registry import connector_ids, load_exchange
from aggregator.exchange import Accepted, Event, Parse, Stream
from aggregator.records import Flags, Record, Ticker, Trade

FRAMES = Path(__file__).parents[1] / "frames"
A, B = Accepted(channel="trades", raw_symbol="A"), Accepted(channel="trades", raw_symbol="B")


def trade(symbol: str, at: int = 0, sent: int | None = None) -> Trade:
    return Trade(raw_symbol=symbol, price="1", size="1", ts_event=at, ts_sent=sent)


def reads(*frames: Iterable[Event]) -> Parse:
    """A parser of frames that are numbers: each gives what stands there."""
    return lambda frame: frames[int(frame)]


def flags(*frames: list[Event], acknowledges: bool = True) -> list[list[Flags]]:
    """The flags of the records of each frame."""
    stream = Stream(
        url="wss://x", channels={"trades": ""}, parse=reads(*frames), tells_past=("trades",), acknowledges=acknowledges
    )
    read = stream.reader()
    said = [list(read(str(n).encode())) for n in range(len(frames))]
    return [[event.flags or () for event in events if isinstance(event, Record)] for events in said]


PAST: Flags = ("snapshot",)


def test_the_first_message_behind_a_confirmation_is_of_the_past() -> None:
    assert flags([A], [trade("A"), trade("A")], [trade("A")]) == [[], [PAST, PAST], [()]]


def test_it_may_be_the_frame_that_confirms() -> None:
    assert flags([A, trade("A")], [trade("A")]) == [[PAST], [()]]


def test_each_topic_has_its_own_past() -> None:
    assert flags([A, B], [trade("A")], [trade("A"), trade("B")], [trade("B")]) == [[], [PAST], [(), PAST], [()]]


def test_what_nobody_confirmed_is_what_it_is() -> None:
    assert flags([trade("A")], [Accepted(id=3)], [trade("A")], [Accepted(channel="trades")], [trade("A")]) == [
        [()],
        [],
        [()],
        [],
        [()],
    ]


def test_it_is_told_again_with_each_subscription() -> None:
    assert flags([A], [trade("A")], [trade("A")], [A], [trade("A")], [trade("A")]) == [
        [],
        [PAST],
        [()],
        [],
        [PAST],
        [()],
    ]


def test_a_subscription_that_stands_begins_nothing_anew() -> None:
    twice = Accepted(channel="trades", raw_symbol="A", again=True)
    assert flags([A], [trade("A")], [twice], [trade("A")]) == [[], [PAST], [], [()]]


def test_a_confirmation_with_its_time_tells_the_past_by_it() -> None:
    a = Accepted(channel="trades", raw_symbol="A", ts=100)
    found = flags([a], [trade("A", 90, 99)], [trade("A", 95, 99)], [trade("A", 99, 100)], [trade("A", 80, 90)])
    assert found == [[], [PAST], [PAST], [()], [()]]
    assert flags([a], [trade("A", 99)], [trade("A", 101)]) == [[], [PAST], [()]]


def test_other_channels_are_left_alone() -> None:
    assert flags([A], [Ticker(raw_symbol="A")], [trade("A")]) == [[], [()], [PAST]]


def test_without_confirmations_it_is_the_first_message_on_a_connection() -> None:
    found = flags([trade("A")], [trade("A")], [trade("B")], [trade("B")], acknowledges=False)
    assert found == [[PAST], [()], [PAST], [()]]


def test_names_of_the_exchange_are_known_by_the_stream() -> None:
    stream = Stream(
        url="wss://x",
        channels={"trades": "t"},
        parse=reads([Accepted(topic="t.A")], [trade("A")]),
        topic=lambda s: f"t.{s.raw_symbol}",
        tells_past=("trades",),
    )
    read = stream.reader()
    assert [list(read(b"0")), list(read(b"1"))] == [[Accepted(topic="t.A")], [structs.replace(trade("A"), flags=PAST)]]


def telling() -> list[str]:
    found = ((id, load_exchange(id)) for id in connector_ids())
    return [id for id, exchange in found if exchange and any(stream.tells_past for stream in exchange.streams)]


@pytest.mark.parametrize("id", telling())
def test_each_that_declares_it_has_frames_of_both(id: str) -> None:
    """Those behind a confirmation, or first, and later ones."""
    rows = [json.loads(line) for line in (FRAMES / f"{id}.jsonl").read_text().splitlines()]
    gives = [given for row in rows if isinstance(row["gives"], list) for given in row["gives"] if given]
    assert {"flags" in given for given in gives if given.get("type") == "trade"} == {True, False}
