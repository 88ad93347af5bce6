"""Subscribers who come, ask for topics, change their minds and die, while markets live as in `lives.py`."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace

from aggregator.bus.bus import Bus
from aggregator.bus.demand import Unmet
from aggregator.bus.selection import Glob, Pattern, parse_pattern
from aggregator.daemon.followed import Followed, in_steps
from aggregator.daemon.on_demand import OnDemand
from aggregator.ingest.listing import Markets
from aggregator.records import Channel, Instrument
from tests.support.lives import World

JOINS = ("come", "come", "come", "change_mind", "change_mind", "die", "storm")
MOST_ASKERS = 6
MARKETS = 16  # names that are asked for; some of them there never are


class Asker:
    """One subscriber: what it asks for, and what it was told."""

    def __init__(self) -> None:
        self.patterns: dict[str, Pattern] = {}
        self.told: dict[str, str] = {}

    def tell(self, unmet: Sequence[Unmet]) -> None:
        self.told.update({each.topic: each.reason for each in unmet})


class AskedWorld(World):
    """A world whose exchange is on demand."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.askers: list[Asker] = []
        self.linger = self.random.choice([0.0, 3.0, 15.0])

    def follow(self, markets: Markets, bus: Bus) -> Followed:
        config = SimpleNamespace(
            id=self.exchange.id,
            symbols=("*",),
            channels=self.channels,
            intervals=("1m", "5m"),
            max_topics=30_000,
            on_demand=True,
            linger=self.linger,
            part=None,
        )
        self.supply = OnDemand([config], bus, {})  # type: ignore[list-item]
        self.offer = self.supply.offers[config.id]
        return Followed(config, self.exchange, self.runner, markets, self.offer)  # type: ignore[arg-type]

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.runner.run())
            group.create_task(self.offer.run(self.followed))

    async def relist(self) -> None:
        async with self.followed.changing:
            await super().relist()

    def reconfigure(self) -> None:
        self.followed.config.symbols = self.random.choice([("*",), ("M0", "M1", "M2"), ("*/USD",)])  # type: ignore[misc]
        self.changing = asyncio.ensure_future(self._refollow())

    async def _refollow(self) -> None:
        async with self.followed.changing:
            await in_steps(self.followed.following())

    # --- what subscribers do ------------------------------------------------------------------------------------------

    def _pattern(self) -> str:
        exchange = self.random.choice([self.exchange.id, self.exchange.id, "*", self.exchange.id[:3] + "*"])
        at = self.random.randrange(MARKETS)
        symbol = self.random.choice([f"M{at}", f"M{at}/{'USD' if at % 2 else 'EUR'}", "*", "M1*"])
        return f"{self.random.choice([*self.channels, '*'])}:{exchange}:{symbol}"

    def _ask(self, asker: Asker) -> None:
        asker.told = {}
        asker.tell(self.supply.want(asker, asker.patterns, asker.tell))

    def _want_some(self, asker: Asker) -> None:
        for _ in range(self.random.randint(1, 4)):
            text = self._pattern()
            asker.patterns[text] = parse_pattern(text)

    def come(self) -> None:
        if len(self.askers) < MOST_ASKERS:
            self.askers.append(Asker())
            self._want_some(self.askers[-1])
            self._ask(self.askers[-1])

    def change_mind(self) -> None:
        if self.askers:
            asker = self.random.choice(self.askers)
            for text in self.random.sample(sorted(asker.patterns), self.random.randint(0, len(asker.patterns))):
                del asker.patterns[text]
            self._want_some(asker)
            self._ask(asker)

    def die(self) -> None:
        if self.askers:
            asker = self.askers.pop(self.random.randrange(len(self.askers)))
            self.supply.want(asker, {}, asker.tell)

    def storm(self) -> None:
        """Somebody comes and goes as fast as can be, twenty times in a second."""
        loop = asyncio.get_running_loop()
        for at in range(20):
            loop.call_later(at / 20, self.random.choice([self.come, self.die, self.change_mind]))

    # --- what must hold -----------------------------------------------------------------------------------------------

    def _brings(self, pattern: Pattern, instrument: Instrument) -> bool:
        names = [name for name in (instrument.symbol, instrument.raw_symbol) if name]
        if "*" in pattern.exchange and "*" in pattern.symbol:
            return False
        fits = Glob(pattern.exchange).matches(self.exchange.id) if "*" in pattern.exchange else True
        return fits and any(
            Glob(pattern.symbol).matches(n) if "*" in pattern.symbol else pattern.symbol == n for n in names
        )

    def _asked(self) -> set[tuple[str, str]]:
        """Channel and market of all that somebody asks for and that can be had, found the slow way."""
        return {
            (channel, str(instrument.raw_symbol))
            for asker in self.askers
            for pattern in asker.patterns.values()
            for instrument in self.followed.chosen
            if self._brings(pattern, instrument)
            for channel in pattern.channels
            if channel in self.channels
        }

    def wanted(self) -> set[str]:
        asked = self._asked()
        return {topic for _, name in asked for topic in self.topics(name) if (topic.split(":")[0], name) in asked}

    def polled_wanted(self) -> set[str]:
        return {name for channel, name in self._asked() if channel == "open_interest"}

    def why_not(self, channel: Channel, name: str) -> str | None:
        demanded = self.supply.demanded(channel, self.exchange.id, name)
        if demanded is None:
            return None
        return super().why_not(channel, name) if demanded.state == "live" else demanded.reason

    def _check_each_moment(self) -> None:
        super()._check_each_moment()
        offered = {name for i in self.followed.chosen for name in (i.symbol, i.raw_symbol)}
        for asker in self.askers:
            for text, pattern in asker.patterns.items():
                is_exact = "*" not in pattern.exchange + pattern.symbol
                if is_exact and pattern.symbol not in offered and text not in asker.told:
                    self.failures.append(f"at {self.time:.2f} {text} cannot be had, and nobody was told")
