"""The life of markets on a simulated exchange: they appear, halt, vanish for an answer, are refused; lines are lost.

The real runner, shards, conversations and sessions run on a virtual clock; the exchange is a few dictionaries.
"""

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Literal

from msgspec import Raw, Struct, structs
from msgspec.json import Decoder

from aggregator.bus import Batch, Bus
from aggregator.errors import SessionError
from aggregator.exchange import (
    Accepted,
    Address,
    Event,
    Exchange,
    Hangup,
    Listing,
    Refused,
    Request,
    Stream,
    Subscription,
)
from aggregator.followed import Followed
from aggregator.instruments import Markets, fetch_listing
from aggregator.lines import Line, Listener
from aggregator.network import Answer, Network
from aggregator.records import Instrument, Trade
from aggregator.registry import load_exchange
from aggregator.rest import Need, Rest
from aggregator.runner import ExchangeRunner
from aggregator.shard import Care
from aggregator.topics import Now

SECOND = 1_000_000_000
EXCHANGES = ("binance", "okx", "kraken", "bitfinex", "coinbase")  # whose declared limits are used
PARTS = ("spot", "swaps")
MOST_MARKETS = 14
PER_CONNECTION = 5  # so that few markets fill several connections
BATCH = 4
SETTLED = 310  # seconds after which a passing refusal is over, if nothing else happens
RELIST = 20.0
Style = Literal["each", "whole", "unnamed", "replaces", "mute"]
STYLES: tuple[Style, ...] = ("each", "whole", "unnamed", "replaces", "mute")

decode_rows = Decoder(list[Raw]).decode


class Market(Struct):
    """A market as the exchange knows it."""

    part: str
    state: str = "trading"
    listed: bool = True
    unknown_until: float = 0.0  # to the socket: it is refused for good before
    busy_until: float = 0.0  # it is refused in passing before


def parse(frame: bytes) -> Iterable[Event]:
    said = json.loads(frame)
    kind = said["kind"]
    if kind == "trade":
        return (Trade(raw_symbol=said["s"], id=str(said["n"]), price="1", size="1"),)
    if kind == "accepted":
        return (Accepted(id=said["id"], channel=None, raw_symbol=said.get("s")),)
    if kind == "refused":
        where = {"channel": "trades", "raw_symbol": said["s"]} if said.get("s") else {}
        return (Refused(said["why"], id=said.get("id"), meaning=said["meaning"], **where),)
    return (Hangup("maintenance"),)


def frame_of(op: str) -> object:
    def frames(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        yield json.dumps({"op": op, "id": id, "topics": [s.raw_symbol for s in wanted]}).encode()

    return frames


def read_row(row: Raw) -> Instrument:
    name, state = json.loads(bytes(row))
    return Instrument(raw_symbol=name, base=name, quote="USD", state=state)


def rows(body: bytes) -> Iterable[Raw]:
    return decode_rows(body)


class Connection:
    """One line as the exchange sees it: what was subscribed on it."""

    def __init__(self, world: "World", listener: Listener) -> None:
        self.world = world
        self.listener = listener
        self.topics: list[str] = []
        self.is_open = True

    def send(self, frame: bytes) -> None:
        """Hear a request a moment later, as over a network."""
        asyncio.get_running_loop().call_later(0.02, self._hear, json.loads(frame))

    def hang_up(self, _: str) -> None:
        self.end("we hung up")

    def end(self, reason: str) -> None:
        if self.is_open:
            self.is_open = False
            self.world.connections.remove(self)
            self.listener.gone(reason)

    def say(self, **said: object) -> None:
        asyncio.get_running_loop().call_later(0.02, self._say, json.dumps(said).encode())

    def _say(self, frame: bytes) -> None:
        if self.is_open:
            self.listener.frames([frame], self.world.now())

    def _hear(self, said: dict[str, object]) -> None:
        if not self.is_open:
            return
        asked: list[str] = said["topics"]  # type: ignore[assignment]
        if said["op"] == "unsubscribe":
            self.topics = [topic for topic in self.topics if topic not in asked]
            return
        self.world.hear(self, said["id"], asked)  # type: ignore[arg-type]


class World:
    """The exchange and the program, and what must hold between them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.style: Style = self.random.choice(STYLES)
        self.markets: dict[str, Market] = {}
        self.connections: list[Connection] = []
        self.broken: dict[str, float] = {}  # part of the listing -> until when it answers an error
        self.seen: Counter[tuple[str, str]] = Counter()
        self.numbers: Counter[str] = Counter()
        self.failures: list[str] = []
        self.exchange = self._exchange(self.random.choice(EXCHANGES))
        for _ in range(self.random.randint(1, MOST_MARKETS)):
            self.appear()

    def _exchange(self, id: str) -> Exchange:
        """A toy stream with the pace, rates and lifetimes of a real exchange."""
        real = load_exchange(id)
        assert real is not None
        model = next(stream for stream in real.streams if "trades" in stream.channels)
        stream = Stream(
            url=f"wss://{id}.example",
            channels={"trades": "t"},
            subscribe=frame_of("subscribe"),  # type: ignore[arg-type]
            unsubscribe=None if self.style == "replaces" else frame_of("unsubscribe"),  # type: ignore[arg-type]
            parse=parse,
            per_connection=min(PER_CONNECTION, model.per_connection),
            batch=PER_CONNECTION if self.style == "replaces" else min(BATCH, model.batch),
            pace=model.pace,
            patience=1e9,
            acknowledges=self.style not in {"replaces", "mute"},
            replaces=self.style == "replaces",
        )
        listing = Listing(tuple(Request(f"https://{id}.example/{part}") for part in PARTS), rows, read_row)
        limits = structs.replace(real.limits, weights={})
        return Exchange(id=id, docs="", feeds=(stream,), listing=listing, limits=limits)

    def now(self) -> Now:
        time = int(asyncio.get_running_loop().time() * SECOND)
        return Now(1_700_000_000 * SECOND + time, time)

    @property
    def time(self) -> float:
        return asyncio.get_running_loop().time()

    # --- what the exchange does ---------------------------------------------------------------------------------------

    async def dial(self, _: Address, listener: Listener) -> Line:
        await asyncio.sleep(0.02)
        if self.random.random() < 0.05:
            raise SessionError("refused")
        connection = Connection(self, listener)
        self.connections.append(connection)
        return connection

    async def fetch(self, request: Request) -> Answer:
        await asyncio.sleep(0.02)
        part = request.url.rpartition("/")[2]
        if self.broken.get(part, 0.0) > self.time:
            return Answer(*self.random.choice([(500, b"sorry"), (200, b'{"error":"busy"}')]), {})
        names = [(n, m.state) for n, m in self.markets.items() if m.part == part and m.listed]
        return Answer(200, json.dumps(names).encode(), {})

    def hear(self, connection: Connection, id: int, asked: list[str]) -> None:
        """Answer a request to subscribe in the exchange's own style."""
        if self.style == "replaces":
            connection.topics = []
        wrong = [name for name in asked if self._is_unknown(name)]
        busy = [name for name in asked if self.markets[name].busy_until > self.time]
        if self.style == "each":
            for name in asked:
                if name in wrong:
                    connection.say(kind="refused", s=name, why="no such market", meaning="final")
                elif name in busy:
                    connection.say(kind="refused", s=name, why="busy", meaning="passing")
                else:
                    self._carry(connection, name)
                    connection.say(kind="accepted", id=None, s=name)
            return
        if wrong or busy:
            told = {"id": id} if self.style == "whole" else {}
            final = "unknown" if self.style == "unnamed" else "final"
            why, meaning = ("busy", "passing") if busy and not wrong else ("wrong parameters", final)
            connection.say(kind="refused", why=why, meaning=meaning, **told)
            return
        for name in asked:
            self._carry(connection, name)
        if self.style in {"whole", "unnamed"}:
            connection.say(kind="accepted", id=id)

    def _is_unknown(self, name: str) -> bool:
        market = self.markets[name]
        return not market.listed or market.unknown_until > self.time

    def _carry(self, connection: Connection, name: str) -> None:
        if name not in connection.topics:
            connection.topics.append(name)
        if len(connection.topics) > PER_CONNECTION:
            self.failures.append(f"{len(connection.topics)} topics on one connection")

    def trade(self) -> None:
        """A trade of every market, to every connection that carries it."""
        for name in self.markets:
            self.numbers[name] += 1
            for connection in self.connections:
                if name in connection.topics:
                    connection.say(kind="trade", s=name, n=self.numbers[name])

    # --- what happens -------------------------------------------------------------------------------------------------

    def appear(self) -> None:
        if len(self.markets) < MOST_MARKETS:
            name = f"M{len(self.markets)}"
            state = self.random.choice(["trading", "trading", "halt", "pre_open"])
            self.markets[name] = Market(self.random.choice(PARTS), state)

    def change_state(self) -> None:
        market = self.random.choice(list(self.markets.values()))
        market.state = self.random.choice(["trading", "halt", "maintenance", "pre_open"])

    def vanish(self) -> None:
        """From the listing, for one answer or for good."""
        market = self.random.choice(list(self.markets.values()))
        market.listed = not market.listed

    def break_part(self) -> None:
        self.broken[self.random.choice(PARTS)] = self.time + self.random.choice([5, 25, 90])

    def be_unknown(self) -> None:
        self.random.choice(list(self.markets.values())).unknown_until = self.time + self.random.choice([5, 60])

    def be_busy(self) -> None:
        self.random.choice(list(self.markets.values())).busy_until = self.time + self.random.choice([3, 30])

    def lose_line(self) -> None:
        if self.connections:
            self.random.choice(self.connections).end("line lost")

    def announce_end(self) -> None:
        if self.connections:
            connection = self.random.choice(self.connections)
            connection.say(kind="bye")
            asyncio.get_running_loop().call_later(self.random.choice([1, 30]), connection.end, "as announced")

    def reconfigure(self) -> None:
        symbols = self.random.choice([("*",), ("M0", "M1", "M2"), ("M1*",), ("*/USD",)])
        self.followed.config.symbols = symbols  # type: ignore[misc]
        self.followed.follow()

    # --- the program --------------------------------------------------------------------------------------------------

    async def relist(self) -> None:
        try:
            listed = await self._fetch()
        except SessionError:
            return
        self.followed.markets.take(listed)
        self.runner.heed_listing()
        self.followed.follow()

    async def _fetch(self) -> object:
        return await fetch_listing(
            self.exchange, lambda r: self.rest.fetch(r, Need.LISTING), {}, lambda: self.now().wall
        )

    async def live(self, steps: Sequence[str]) -> list[str]:
        """One case: the failures found in it."""
        network = Network(self.dial, self.fetch, self.now)
        bus = Bus("model")
        bus.attach(self._take)
        self.rest = Rest(network, self.exchange)
        self.runner = ExchangeRunner(
            self.exchange, ("trades",), (), network=network, bus=bus, rest=self.rest, care=Care()
        )
        listed = await self._fetch()
        config = SimpleNamespace(symbols=("*",))
        self.followed = Followed(config, self.exchange, self.runner, Markets(listed))  # type: ignore[arg-type]
        self.followed.follow()
        task = asyncio.create_task(self.runner.run())
        next_listing = self.time + RELIST
        try:
            for step in steps:
                getattr(self, step)()
                for _ in range(self.random.randint(1, 12)):
                    await asyncio.sleep(1.0)
                    self.trade()
                    if self.time >= next_listing:
                        next_listing = self.time + RELIST
                        await self.relist()
                    self._check_each_moment()
            await self._settle()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self.connections:
            self.failures.append(f"{len(self.connections)} connections stay behind")
        return self.failures

    def _take(self, batch: Batch) -> None:
        for record in batch.records:
            if isinstance(record, Trade):
                key = (str(record.raw_symbol), str(record.id))
                self.seen[key] += 1
                if self.seen[key] == 2:
                    self.failures.append(f"{key} was told twice")

    async def _settle(self) -> None:
        """Nothing happens any more: what is wanted is there, once, and nothing else."""
        self.broken.clear()
        for market in self.markets.values():
            market.unknown_until = market.busy_until = 0.0
        for seconds in (0, 20, 20, SETTLED, 20):
            await asyncio.sleep(seconds)
            await self.relist()
        await asyncio.sleep(20)
        self._check_each_moment()
        chosen = {str(i.raw_symbol) for i in self.followed.chosen}
        carried = Counter(topic for connection in self.connections for topic in connection.topics)
        for name in chosen:
            if carried[name] != 1 and (self.style != "unnamed" or self.runner.why_not("trades", name) is None):
                self.failures.append(f"settled, {name} has {carried[name]} subscriptions")
        for name in carried.keys() - chosen:
            self.failures.append(f"settled, {name} is subscribed and not wanted")
        if any(not connection.topics for connection in self.connections) and self.style != "unnamed":
            self.failures.append("settled, a connection carries nothing")

    def _check_each_moment(self) -> None:
        """Each wanted market has a subscription or is on the way, or a reason is told; no connection too many."""
        carried = Counter(topic for connection in self.connections for topic in connection.topics)
        for instrument in self.followed.chosen:
            name = str(instrument.raw_symbol)
            if not carried[name] and self.runner.why_not("trades", name) is None:
                self.failures.append(f"at {self.time:.2f} {name} has no subscription, and no reason is told")


STEPS = (
    "appear",
    "change_state",
    "change_state",
    "vanish",
    "vanish",
    "break_part",
    "be_unknown",
    "be_busy",
    "lose_line",
    "announce_end",
    "reconfigure",
)


def play(seed: int) -> list[str]:
    """One life, made of a seed."""
    from tests.virtual_time import run

    logging.disable(logging.CRITICAL)
    chance = random.Random(seed)
    steps = [chance.choice(STEPS) for _ in range(chance.randint(1, 25))]
    world: list[World] = []

    async def main() -> list[str]:
        world.append(World(seed))
        return await world[0].live(steps)

    try:
        failures = run(main())
    finally:
        logging.disable(logging.NOTSET)
    return [f"{world[0].style}, {steps}: {failure}" for failure in failures]
