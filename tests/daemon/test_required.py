"""The topics that have to be live before the daemon is ready."""

import logging
from collections.abc import Iterator

import pytest

from aggregator.bus.selection import BadPattern
from aggregator.bus.view import Views, Wanted
from aggregator.daemon import required
from aggregator.daemon.required import Required
from aggregator.records import BookSnapshot, Channel, Health, TopicState


class Exchange:
    """An exchange whose topics are in the state that the test wants."""

    def __init__(self) -> None:
        self.states: dict[tuple[Channel, str], TopicState] = {}

    def book(self, _: str) -> BookSnapshot | None:
        return None

    def books(self) -> Iterator[BookSnapshot]:
        yield from ()

    def health(self, channel: Channel, raw_symbol: str | None) -> Iterator[Health]:
        state = self.states.get((channel, raw_symbol or ""))
        if state is not None:
            yield Health(channel=channel, state=state)

    def wanted(self) -> Iterator[Wanted]:
        yield from (Wanted(channel, "toy", raw, f"{raw}/USD") for channel, raw in self.states)


def views(exchange: Exchange) -> Views:
    made = Views(lambda: 0)
    made.add("toy", exchange)
    return made


def test_each_topic_of_a_pattern_must_have_been_live_and_there_must_be_one() -> None:
    exchange = Exchange()
    exchange.states = {("trades", "A"): "live", ("trades", "B"): "subscribing", ("book", "A"): "down"}
    there = views(exchange)
    found = Required(["trades:toy:*", "ticker:*:C/USD"], there)
    assert found.lacking() == ["ticker:*:C/USD (no such topic)", "trades:toy:B/USD (subscribing)"]
    exchange.states |= {("trades", "A"): "stalled", ("trades", "B"): "quiet", ("ticker", "C"): "syncing"}
    there.tell([Wanted("ticker", "toy", "C", "C/USD")])
    assert found.lacking() == ["ticker:toy:C/USD (syncing)"]
    exchange.states["ticker", "C"] = "live"
    assert found.lacking() == []


async def test_it_waits_for_them_and_no_longer_than_it_may(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(required, "LOOK_S", 0.01)
    exchange, told = Exchange(), list[str]()
    exchange.states = {("trades", "A"): "subscribing"}

    def tell(words: str) -> None:
        told.append(words)
        if len(told) == 3:
            exchange.states["trades", "A"] = "live"

    await Required(["trades:toy:A/USD"], views(exchange)).wait(60, tell)
    assert told == ["waiting for trades:toy:A/USD (subscribing)"] * 3
    exchange.states["trades", "A"] = "down"
    await Required([f"trades:toy:{name}" for name in "ABCDEFG"], views(exchange)).wait(0, told.append)
    assert len(told) == 3
    first, last = (record.getMessage() for record in caplog.records)
    assert first.startswith("ready: what is required is live, after ")
    assert last.startswith("ready without what is required after 0 s: trades:toy:B (no such topic), ")
    assert last.endswith(" and 2 more")


def test_what_is_no_pattern_is_refused() -> None:
    with pytest.raises(BadPattern):
        Required(["trades"], Views(lambda: 0))
