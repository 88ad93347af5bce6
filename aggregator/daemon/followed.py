"""The markets of one exchange that a configuration asks for: which of them are followed now, and why others are not."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

from msgspec import Struct

from aggregator.config.config import ExchangeConfig
from aggregator.config.schema import FIRST_INTERVAL
from aggregator.daemon.by_hand import ByHand
from aggregator.exchange import Exchange
from aggregator.ingest.listing import STEP, Identity, Markets, choosing, identity, letting_go, life, suggest
from aggregator.ingest.runner import ExchangeRunner
from aggregator.ingest.symbols import matches
from aggregator.records import Channel, Instrument

MOST_NAMES = 3  # so many instruments are named in one line of the log
FEW = 100  # others may have their turn after so many in a row that do not wait

log = logging.getLogger("aggregator.daemon")


class FollowedStatus(Struct, frozen=True, kw_only=True):
    """The markets that a configuration asks for.

    markets: that are followed
    waiting: how many are asked for and cannot be had now, by what they are: `halted`, say
    idle: symbols of the configuration that name no market which is followed
    subscribed: patterns that are followed besides, because `aggregator ctl subscribe` says so
    unsubscribed: patterns that are not followed, because `aggregator ctl unsubscribe` says so
    """

    markets: int
    waiting: dict[str, int]
    idle: list[str]
    subscribed: list[str] = []
    unsubscribed: list[str] = []


class Demand(Protocol):
    """The choice of topics, among all that a configuration asks for, that somebody wants now."""

    def meeting(self, followed: "Followed") -> Iterator[None]:
        """Learn that other markets may be chosen from; in steps."""

    def markets(self) -> Sequence[Instrument]:
        """The markets of which some topic is wanted."""

    def channels_of(self, instrument: Instrument) -> Collection[Channel]:
        """The channels of a market that are wanted."""


class Followed:
    """The markets that are asked for by name or pattern, of those that are listed."""

    def __init__(
        self,
        config: ExchangeConfig,
        exchange: Exchange,
        runner: ExchangeRunner,
        markets: Markets,
        demand: "Demand | None" = None,
        by_hand: ByHand | None = None,
    ) -> None:
        """Follow nothing yet.

        demand: chooses among what is asked for; without it all of that is followed
        by_hand: what an operator has said besides
        """
        self.changing = asyncio.Lock()  # one change after the other: each has several steps
        self.by_hand = by_hand or ByHand()
        self._reconfigured = asyncio.Event()
        self._demand = demand
        self._offered: dict[Identity, Instrument] = {}
        self.config = config
        self.exchange = exchange
        self.runner = runner
        self.markets = markets
        self.chosen: list[Instrument] = []
        self.listed: list[Instrument] = []  # when it was last chosen
        self._idle: Sequence[str] = ()
        self._unserved: set[str] = set()
        self._left_out = 0
        self._waiting: dict[str, list[str]] = {}

    @property
    def is_on_demand(self) -> bool:
        """Tell whether topics are followed only while somebody asks for them."""
        return self._demand is not None and self.config.on_demand

    @property
    def channels(self) -> list[Channel]:
        """Those that are asked for and that the exchange offers."""
        return [channel for channel in self.exchange.channels if channel in self.config.channels]

    def is_named(self, instrument: Instrument) -> bool:
        """Tell whether the configuration, or an operator, names this market, be it open or not."""
        return self.is_ours(instrument) and any(matches(pattern, instrument) for pattern in self._symbols)

    def is_ours(self, instrument: Instrument) -> bool:
        """Tell whether this process gathers a market, where members of a cluster or workers divide them."""
        return self.config.part is None or self.config.part.has(instrument.raw_symbol)

    @property
    def _symbols(self) -> Sequence[str]:
        return (
            list(dict.fromkeys([*self.config.symbols, *self.by_hand.symbols])) if self.by_hand else self.config.symbols
        )

    def means(self, symbol: str) -> bool:
        """Tell whether a symbol, or a pattern, fits a market that is listed."""
        return any(matches(symbol, instrument) for instrument in self.markets.instruments)

    def follow(self) -> None:
        """Let the runner carry what is asked for and can be had now, and nothing else."""
        for _ in self.following():
            pass

    def following(self) -> Iterator[None]:
        """Do what `follow` does in steps, between which others may have their turn."""
        yield from self.choosing()
        yield from self.carrying()

    def choosing(self) -> Iterator[None]:
        """Find what is asked for and can be had now, and say why something is not; in steps."""
        before, listed, symbols = self._offered, self.markets.instruments, self._symbols
        choice = yield from choosing(listed, symbols, before, time.time_ns())
        chosen: list[Instrument] = []
        offered: dict[Identity, Instrument] = {}
        new = 0
        for start in range(0, len(choice.instruments), STEP):
            ours = [one for one in choice.instruments[start : start + STEP] if self.is_ours(one)]
            chosen += ours
            new += sum(identity(instrument) not in before for instrument in ours)
            offered |= {identity(instrument): instrument for instrument in ours}
            yield
        self.listed, self.chosen, self._offered = listed, chosen, offered
        if self._demand is not None:
            yield from self._demand.meeting(self)
        yield from self._dividing()
        for pattern in choice.unlisted:  # a market that is listed and waits is told below
            if pattern not in self._idle:
                meant = suggest(pattern, listed)
                hint = f"; did you mean {meant!r}?" if meant else ""
                log.warning("%s: no instrument is named %r%s", self.exchange.id, pattern, hint)
        if not offered and len(choice.idle) == len(symbols) and choice.idle != self._idle:
            log.warning("%s: there is nothing to follow", self.exchange.id)
        self._idle = choice.idle
        gone = len(before) - (len(offered) - new)
        if before and (new or gone):
            log.info("%s: %d markets more, %d fewer", self.exchange.id, new, gone)
        self._say_unserved()
        self._say_left_out()
        self._say_waiting(filter(self.is_ours, choice.waiting))
        yield from letting_go(before)

    def _dividing(self) -> Iterator[None]:
        demand = self._demand if self.is_on_demand else None
        if self.by_hand:
            markets = self.chosen if demand is None else [*demand.markets(), *self._chosen_by_hand(demand)]
            return self.runner.dividing(markets, lambda instrument: self._channels_of(instrument, demand))
        if demand is None:
            return self.runner.dividing(self.chosen)
        return self.runner.dividing(demand.markets(), demand.channels_of)

    def _chosen_by_hand(self, demand: Demand) -> Iterator[Instrument]:
        """The markets that nobody asks for but the operator."""
        asked = {identity(instrument) for instrument in demand.markets()}
        for instrument in self.chosen:
            if identity(instrument) not in asked and self._channels_of(instrument, None, ()):
                yield instrument

    def _channels_of(
        self, instrument: Instrument, demand: Demand | None, configured: Collection[Channel] | None = None
    ) -> list[Channel]:
        """The channels of a market that are wanted, by whomever, and that the exchange offers."""
        if configured is None and demand is not None:
            configured = demand.channels_of(instrument)
        elif configured is None:
            is_named = any(matches(pattern, instrument) for pattern in self.config.symbols)
            configured = self.channels if is_named else ()
        return [one for one in self.by_hand.channels_of(instrument, configured) if one in self.exchange.channels]

    async def change(self) -> None:
        """Let the runner carry what is wanted now, where only that has changed."""
        async with self.changing:
            await in_steps(self._dividing())
            await in_steps(self.runner.carrying("nobody asks for it any more"))

    async def reconfigure(
        self, config: ExchangeConfig, by_hand: ByHand, announce: Callable[["Followed"], Awaitable[None]]
    ) -> None:
        """Follow what another configuration asks for: the difference is asked for, or released, where it is carried.

        Where that fails, what was followed before is followed again, and the error raised.

        announce: tells of the markets that are named now
        """
        async with self.changing:
            before = self.config, self.by_hand
            try:
                await self._follow_by(config, by_hand, announce)
            except BaseException:
                await self._follow_by(*before, announce)
                raise

    async def _follow_by(
        self, config: ExchangeConfig, by_hand: ByHand, announce: Callable[["Followed"], Awaitable[None]]
    ) -> None:
        self.config, self.by_hand = config, by_hand
        self.runner.configure(self.channels, intervals_of(config), config.max_topics)
        await in_steps(self.choosing())
        await announce(self)
        await in_steps(self.carrying())
        self._reconfigured.set()

    async def until_relisting(self, least: float, passed: float = 0.0) -> None:
        """Wait until the instruments are to be asked for again, as the configuration of now says it.

        least: seconds that have to pass
        passed: seconds that have passed since they were asked for the last time
        """
        begun = asyncio.get_running_loop().time()
        while True:
            self._reconfigured.clear()
            relist = self.config.relist
            with suppress(TimeoutError):
                async with asyncio.timeout_at(None if relist is None else begun + max(relist - passed, least)):
                    await self._reconfigured.wait()
                    continue
            return

    def offered(self, instrument: Instrument) -> Instrument | None:
        """The market as it is listed now, if it can be had; null where it cannot."""
        return self._offered.get(identity(instrument))

    def serves(self, channel: Channel, instrument: Instrument) -> bool:
        """Tell whether a feed that is used today carries a channel of a market."""
        today = datetime.now(UTC).date().isoformat()
        feeds = self.exchange.feeds_on(today, has_keys=bool(self.config.credentials))
        return any(channel in feed.channels and feed.serves(instrument) for feed in feeds)

    def carrying(self) -> Iterator[None]:
        """Let the runner carry what was chosen, in steps."""
        yield from self.runner.carrying("the market is no longer listed, or not asked for")

    def named(self, instruments: Iterable[Instrument]) -> list[Instrument]:
        """Those of these markets that the configuration names, and for which there is room."""
        left_out = {identity(instrument) for instrument in self.runner.left_out}
        return [i for i in instruments if self.is_named(i) and identity(i) not in left_out]

    def _say_waiting(self, instruments: Iterable[Instrument]) -> None:
        """Log which markets are asked for and cannot be had now, and why, when that changes."""
        waiting: dict[str, list[str]] = {}
        now = time.time_ns()
        for instrument in instruments:
            waiting.setdefault(life(instrument, now), []).append(str(instrument.raw_symbol))
        for why, names in waiting.items():
            if names != self._waiting.get(why):
                named = " ".join(names[:MOST_NAMES])
                log.info(
                    "%s: %d markets are %s and wait for that to change: %s", self.exchange.id, len(names), why, named
                )
        self._waiting = waiting

    def why_not(self, instrument: Instrument) -> str | None:
        """Why a market that is named has no subscription: None where it is followed."""
        if identity(instrument) in self._offered:
            return None
        if not self.markets.lists(identity(instrument)):
            return "it is not listed"
        return _why_it_waits(instrument, time.time_ns())

    def status(self) -> FollowedStatus:
        """How many markets are followed, and what waits."""
        waiting = {why: len(names) for why, names in self._waiting.items()}
        count = len(self._demand.markets()) if self._demand is not None and self.is_on_demand else len(self.chosen)
        return FollowedStatus(
            markets=count,
            waiting=waiting,
            idle=list(self._idle),
            subscribed=self.by_hand.patterns(is_wanted=True),
            unsubscribed=self.by_hand.patterns(is_wanted=False),
        )

    def waiting(self) -> Iterator[tuple[Instrument, str] | None]:
        """Markets that are named and not followed, and why; nothing now and then, where the next one is far."""
        followed = {identity(instrument) for instrument in self.chosen}
        now = time.time_ns()
        for at, instrument in enumerate(self.markets.instruments):
            if identity(instrument) not in followed and self.is_named(instrument):
                yield instrument, _why_it_waits(instrument, now)
            elif at % FEW == FEW - 1:
                yield None

    def _say_left_out(self) -> None:
        left = self.runner.left_out
        if left and len(left) != self._left_out:
            named = " ".join(str(instrument.raw_symbol) for instrument in left[:MOST_NAMES])
            log.warning(
                "%s: %d markets are left out (%s): max_topics is %d",
                self.exchange.id,
                len(left),
                named,
                self.config.max_topics,
            )
        self._left_out = len(left)

    def _say_unserved(self) -> None:
        for channel, left in self.runner.unserved.items():
            named = " ".join(str(instrument.raw_symbol) for instrument in left[:MOST_NAMES])
            if channel not in self._unserved:
                log.warning(
                    "%s: no feed carries %s of %d instruments (%s)", self.exchange.id, channel, len(left), named
                )
        self._unserved = set(self.runner.unserved)


def _why_it_waits(instrument: Instrument, now: int) -> str:
    return f"it is {life(instrument, now)} ({instrument.state})"


def intervals_of(config: ExchangeConfig) -> tuple[str, ...]:
    """The intervals of candles that a configuration means, where it or an operator asks for candles."""
    return config.intervals or (FIRST_INTERVAL,)


async def in_steps(steps: Iterable[None]) -> None:
    """Do something long, and let others have their turn between its steps."""
    for _ in steps:
        await asyncio.sleep(0)
