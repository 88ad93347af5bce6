"""The parts of exchanges that workers have: how many, what each is to have, and how all of them fare as one."""

import asyncio
from collections.abc import Callable

from msgspec import structs

from aggregator.config.config import ExchangeConfig
from aggregator.daemon.followed import FollowedStatus
from aggregator.daemon.parts import DIVIDED_FROM, ExchangePart, allowed, count_of, joined, parts_of
from aggregator.daemon.shared_listings import FRESH_S, BorrowedListings, LentListings
from aggregator.daemon.status import ChannelStatus, ExchangeStatus
from aggregator.daemon.words import AskListing, FromHub, FromWorker, ListingRead, ListingTurn
from aggregator.exchange import Limits
from aggregator.ingest.checkpoint_file import Topics
from aggregator.records import Gap
from aggregator.session.topics import TopicCheckpoint
from tests.support.hurry import hurried

CONFIG = ExchangeConfig(id="binance", channels=("trades",), symbols=("*",), endpoints={})
MUCH = 4 * DIVIDED_FROM


def test_an_exchange_is_divided_where_it_has_more_than_a_fair_share_and_much() -> None:
    assert count_of(CONFIG, MUCH, MUCH / 2, 2) == 2
    assert count_of(CONFIG, MUCH, MUCH * 0.3, 8) == 4
    assert count_of(CONFIG, MUCH, MUCH / 8, 2) == 2, "no more than there are workers"
    assert count_of(CONFIG, MUCH, MUCH * 1.1, 2) == 1, "others have as much"
    assert count_of(CONFIG, DIVIDED_FROM / 2, DIVIDED_FROM / 4, 2) == 1, "one worker has room for it"
    assert count_of(structs.replace(CONFIG, buckets=1), MUCH, MUCH / 2, 2) == 1
    assert count_of(structs.replace(CONFIG, buckets=3), 0, 1, 8) == 3
    assert (allowed(8, Limits()), allowed(8, Limits(connections=7)), allowed(8, Limits(connections=1))) == (8, 3, 1)


def test_each_symbol_is_in_one_part_and_so_is_what_an_earlier_run_has_left_of_it() -> None:
    parts = parts_of("binance", 3)
    assert [part.name for part in parts] == ["binance-0of3", "binance-1of3", "binance-2of3"]
    symbols = [f"S{number}" for number in range(50)]
    left: Topics = {"main": {("trades", symbol): TopicCheckpoint(last=1) for symbol in symbols}}
    kept = [part.left({**left, "other": {("status", None): TopicCheckpoint()}}) for part in parts]
    assert sorted(key[1] or "" for each in kept for key in each["main"]) == sorted(symbols)
    assert [len(each["other"]) for each in kept] == [1, 0, 0]
    configs = [part.configured(structs.replace(CONFIG, max_topics=100)) for part in parts]
    assert [(config.name, config.max_topics, config.processes) for config in configs] == [
        (part.name, 33, 3) for part in parts
    ]
    (whole,) = parts_of("binance", 1)
    assert whole.configured(CONFIG) is CONFIG
    assert (CONFIG.name, CONFIG.processes) == ("binance", 1)
    assert whole.left(left) == left


def test_a_gap_of_a_whole_connection_is_of_the_part_whose_connection_it_is() -> None:
    one, other = parts_of("binance", 2)
    gap = Gap(exchange="binance", gap_id="g", phase="open", channel=None, cause="parse_error", ts_from=1)
    lost = structs.replace(gap, conn="binance-1of2/main.1#1")
    assert (one.tells(lost), other.tells(lost)) == (False, True)
    about = structs.replace(gap, raw_symbol="BTCUSDT", conn="binance/main")
    assert (one.tells(about), other.tells(about)) == (True, False)
    for conn in ("binance/main", "binance-2of3/main"):  # an earlier run has left it, as a whole or in other parts
        left = structs.replace(gap, conn=conn)
        assert (one.tells(left), other.tells(left)) == (True, False)
    assert ExchangePart("binance", "binance").tells(lost)


def fares(state: str, count: int, **others: object) -> ExchangeStatus:
    channel = ChannelStatus(channel="trades", topics={"live": count}, rate=1.5, age_ms=count, oldest_ms=10 * count)
    followed = FollowedStatus(markets=count, waiting={"halted": 1}, idle=["X"])
    return ExchangeStatus(
        id="binance", state=state, topics={"live": count}, gaps=1, rate=1.5, records=10, age_ms=count,  # type: ignore[arg-type]
        channels=[channel], followed=followed, **others,  # type: ignore[arg-type]
    )  # fmt: skip


def test_parts_fare_together_as_one_exchange() -> None:
    one, other = fares("running", 2), fares("running", 3, trouble="late", demand={"live": 1})
    both = joined([one, other])
    assert (both.state, both.trouble, both.topics, both.gaps, both.rate) == ("running", "late", {"live": 5}, 2, 3.0)
    assert (both.records, both.age_ms, both.demand) == (20, 2, {"live": 1})
    assert both.followed == FollowedStatus(markets=5, waiting={"halted": 2}, idle=["X"])
    assert both.channels == [ChannelStatus(channel="trades", topics={"live": 5}, rate=3.0, age_ms=2, oldest_ms=30)]
    assert joined([one, fares("starting", 0)]).state == "starting", "not all of it runs"
    assert joined([one]) is one


class Hub:
    """A hub and two workers, whose words about a listing come at once."""

    def __init__(self) -> None:
        self.lent = LentListings()
        self.told: list[tuple[int, bool]] = []
        self.said: list[tuple[int, FromHub]] = []

    def ask(self, who: int, number: int = 1) -> None:
        self.lent.ask(who, AskListing(number, "binance"), self._hears(who))

    def _hears(self, who: int) -> Callable[[FromHub], None]:
        def hear(word: FromHub) -> None:
            assert isinstance(word, ListingTurn)
            self.told.append((who, word.is_yours))

        return hear

    def read(self, who: int, *, is_there: bool = True) -> None:
        self.lent.told(who, ListingRead("binance", is_there))


@hurried
async def test_one_worker_asks_for_a_listing_and_the_others_have_what_it_got() -> None:
    hub = Hub()
    hub.ask(1)
    hub.ask(2)
    assert hub.told == [(1, True)]
    hub.read(2)
    assert hub.told == [(1, True)], "it is not its turn"
    hub.read(1)
    assert hub.told == [(1, True), (2, False)]
    hub.told.clear()
    hub.ask(3)
    hub.ask(2)
    assert hub.told == [(3, False), (2, True)], "who has it already asks anew"
    hub.read(2, is_there=False)
    hub.ask(3)
    assert hub.told[2:] == [(3, True)], "and the next one, where that was in vain"
    hub.read(3)
    hub.ask(1)
    assert hub.told[3:] == [(1, False)]
    await asyncio.sleep(FRESH_S + 1)
    hub.ask(2)
    assert hub.told[4:] == [(2, True)], "it is old"


async def test_the_turn_of_a_worker_that_has_ended_goes_to_the_next() -> None:
    hub = Hub()
    for who in (1, 2, 3):
        hub.ask(who)
    hub.lent.leave(2)
    hub.lent.leave(1)
    assert hub.told == [(1, True), (3, True)]


async def test_a_turn_that_comes_to_nobody_is_given_back() -> None:
    said: list[FromWorker] = []
    borrowed = BorrowedListings(said.append)
    borrowed.heard(ListingTurn(7, "binance", is_yours=True))
    assert said == [ListingRead("binance", is_there=False)]
