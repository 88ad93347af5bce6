"""The life of markets on a simulated exchange: they appear, halt, vanish for an answer, are refused; lines are lost.

Worlds differ: in how refusals are told, whether topics can be unsubscribed, whether candles of two intervals are wanted
(one of which a market may not have), how many lines carry each topic, what is allowed of lines and requests, and how
many streams and polls there are. The real runner, shards, conversations and sessions run on a virtual clock; the
exchange is a few dictionaries.
"""

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, Literal

from msgspec import Raw, Struct, structs
from msgspec.json import Decoder

from aggregator.bus.bus import Batch, Bus
from aggregator.catalog.registry import load_exchange
from aggregator.daemon.followed import Followed
from aggregator.errors import SessionError
from aggregator.exchange import (
    Accepted,
    Address,
    Event,
    Exchange,
    Hangup,
    Limits,
    Listing,
    Poll,
    Refused,
    Request,
    Stream,
    Subscription,
)
from aggregator.ingest.lines import Line, LineListener
from aggregator.ingest.listing import Listed, Markets, fetch_listing
from aggregator.ingest.network import Answer, Network
from aggregator.ingest.rest import Need, Rest
from aggregator.ingest.runner import ExchangeRunner, for_streams
from aggregator.ingest.shard import ConnectionPolicy
from aggregator.records import Candle, Channel, Instrument, OpenInterest, Trade
from aggregator.sequence import contiguous
from aggregator.session.moment import Now

SECOND = 1_000_000_000
EXCHANGES = ("binance", "okx", "kraken", "bitfinex", "coinbase")  # whose declared limits are used
PARTS = ("spot", "swaps")
MOST_MARKETS = 14
MOST_WITH_CANDLES = 6
INTERVALS = ("1m", "5m")
DELAYS = (0.02, 0.02, 0.02, 0.4, 1.6)  # seconds: one host is slower than another
NAMINGS = ("number", "id", "time")  # what tells a trade from others: the last stands for its time and content
PER_CONNECTION = 5  # so that few markets fill several connections
POLLED = 7.0  # seconds between two answers of a poll
BATCH = 4
SETTLED = 310  # seconds after which a passing refusal is over, if nothing else happens
RELIST = 20.0
Style = Literal["each", "whole", "unnamed", "hangs up", "replaces", "mute"]
STYLES: tuple[Style, ...] = ("each", "whole", "unnamed", "hangs up", "replaces", "mute")
LONG_REFUSED = {"unnamed", "hangs up"}  # where a refusal holds on for longer than a life

decode_rows = Decoder(list[Raw]).decode


class Market(Struct):
    """A market as the exchange knows it."""

    part: str
    state: str = "trading"
    listed: bool = True
    unknown_until: float = 0.0  # to the socket: it is refused for good before
    busy_until: float = 0.0  # it is refused in passing before
    figure: int = 0  # that the listing tells of it
    lacks: str = ""  # the interval of which it has no candles


def parse(frame: bytes) -> Iterable[Event]:
    said = json.loads(frame)
    kind = said["kind"]
    if kind == "trade":
        number, name, time = said["n"], said["as"], said["n"] * SECOND
        names: dict[str, Any] = {"number": {"sequence": number}, "id": {"id": str(number)}}.get(name, {})
        return (Trade(raw_symbol=said["s"], price="1", size=str(number), ts_event=time, **names),)
    if kind == "candle":
        return (
            Candle(raw_symbol=said["s"], interval=said["i"], ts_open=said["n"], open="1", high="1", low="1", close="1"),
        )
    where: dict[str, str] = dict(zip(("channel", "raw_symbol"), said.get("s", "").split(":"), strict=False))
    where = where if said.get("s") else {}  # the interval is not named
    if kind == "accepted":
        return (Accepted(id=said["id"], **where),)  # type: ignore[arg-type]
    if kind == "refused":
        return (Refused(said["why"], id=said.get("id"), meaning=said["meaning"], **where),)  # type: ignore[arg-type]
    return (Hangup("maintenance"),)


def frame_of(op: str) -> object:
    def frames(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        yield json.dumps({"op": op, "id": id, "topics": [topic_of(s) for s in wanted]}).encode()

    return frames


def topic_of(s: Subscription) -> str:
    """The exchange's own name of a topic: `trades:M0`, `candles:M0:5m`."""
    return f"{s.channel}:{s.raw_symbol}" + (f":{s.interval}" if s.channel == "candles" else "")


def read_row(row: Raw) -> Instrument:
    name, state, figure = json.loads(bytes(row))
    quote = "USD" if int(name[1:]) % 2 else "EUR"
    return Instrument(raw_symbol=name, base=name, quote=quote, state=state, lot_size=str(figure))


def rows(body: bytes) -> Iterable[Raw]:
    return decode_rows(body)


class Connection:
    """One line as the exchange sees it: what was subscribed on it."""

    def __init__(self, world: "World", listener: LineListener) -> None:
        self.world = world
        self.listener = listener
        self.asked: list[float] = []  # when
        self.topics: list[str] = []
        self.is_open = True
        self.delay = world.random.choice(DELAYS)  # of all that it says

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
        asyncio.get_running_loop().call_later(self.delay, self._say, json.dumps(said).encode())

    def _say(self, frame: bytes) -> None:
        if self.is_open:
            self.listener.frames([frame], self.world.now())

    def _hear(self, said: dict[str, object]) -> None:
        if not self.is_open:
            return
        asked: list[str] = said["topics"]  # type: ignore[assignment]
        self.world.count(self)
        if said["op"] == "unsubscribe":
            self.topics = [topic for topic in self.topics if topic not in asked]
            return
        self.world.hear(self, said["id"], asked)  # type: ignore[arg-type]


class World:
    """The exchange and the program, and what must hold between them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.style: Style = self.random.choice(STYLES)
        self.redundancy = self.random.choice([1, 1, 2])
        self.naming = self.random.choice(NAMINGS)
        self.can_leave = self.style != "replaces" and self.random.random() < 0.75
        self.channels: tuple[Channel, ...] = self.random.choice([("trades",), ("trades", "candles", "open_interest")])
        self.most_markets = MOST_MARKETS if len(self.channels) == 1 else MOST_WITH_CANDLES
        self.polled: dict[str, float] = {}  # raw symbol -> when it was asked for
        self.markets: dict[str, Market] = {}
        self.connections: list[Connection] = []
        self.broken: dict[str, float] = {}  # part of the listing -> until when it answers an error
        self.seen: Counter[tuple[str, str]] = Counter()
        self.numbers: Counter[str] = Counter()
        self.failures: list[str] = []
        self.exchange = self._exchange(self.random.choice(EXCHANGES))
        for _ in range(self.random.randint(1, self.most_markets)):
            self.appear()

    def _exchange(self, id: str) -> Exchange:
        """A toy stream with the pace, rates and lifetimes of a real exchange."""
        real = load_exchange(id)
        assert real is not None
        model = next(stream for stream in real.streams if "trades" in stream.channels)
        stream = Stream(
            url=f"wss://{id}.example",
            channels={"trades": "t", "candles": "c"},
            subscribe=frame_of("subscribe"),  # type: ignore[arg-type]
            hangs_up=self.style == "hangs up",
            unsubscribe=frame_of("unsubscribe") if self.can_leave else None,  # type: ignore[arg-type]
            parse=parse,
            per_connection=min(PER_CONNECTION, model.per_connection),
            batch=PER_CONNECTION if self.style == "replaces" else min(BATCH, model.batch),
            pace=model.pace,
            patience=1e9,
            acknowledges=self.style not in {"replaces", "mute"},
            replaces=self.style == "replaces",
            sequence={"trades": contiguous} if self.naming == "number" else {},
        )
        streams = [stream]
        if self.random.random() < 0.3:  # each kind of market on a stream of its own
            streams = [
                structs.replace(stream, name="spot", serves=lambda i: i.quote == "USD"),
                structs.replace(stream, name="swaps", serves=lambda i: i.quote != "USD"),
            ]
        poll = Poll(
            channels=("open_interest",),
            every=POLLED,
            request=lambda raw: Request(f"https://{id}.example/poll/{raw}"),
            parse=lambda raw, _: (OpenInterest(raw_symbol=raw, size="1"),),
        )
        listing = Listing(tuple(Request(f"https://{id}.example/{part}") for part in PARTS), rows, read_row)
        limits = Limits(
            connects=real.limits.connects,
            connections=self.random.choice([None, None, 3, 6, 12]),
            requests=self.random.choice([None, None, (20, 60.0), (6, 60.0)]),
            lifetime=self.random.choice([real.limits.lifetime, 700.0]),
        )
        return Exchange(id=id, docs="", feeds=(*streams, poll), listing=listing, limits=limits)

    @property
    def about(self) -> str:
        """What kind of world it is."""
        limits, streams = self.exchange.limits, len(self.exchange.streams)
        return (
            f"{self.style}, {self.redundancy} lines, {streams} streams, {len(self.channels)} channels, "
            f"trades by {self.naming}, "
            f"can leave: {self.can_leave}, connections {limits.connections}, requests {limits.requests}"
        )

    def now(self) -> Now:
        time = int(asyncio.get_running_loop().time() * SECOND)
        return Now(1_700_000_000 * SECOND + time, time)

    @property
    def time(self) -> float:
        return asyncio.get_running_loop().time()

    # --- what the exchange does ---------------------------------------------------------------------------------------

    async def dial(self, _: Address, listener: LineListener) -> Line:
        await asyncio.sleep(0.02)
        if self.random.random() < 0.05:
            raise SessionError("refused")
        connection = Connection(self, listener)
        self.connections.append(connection)
        most = for_streams(self.exchange.limits)
        if most is not None and len(self.connections) > most:
            self.failures.append(f"{len(self.connections)} connections at once")
        return connection

    async def fetch(self, request: Request) -> Answer:
        await asyncio.sleep(0.02)
        part = request.url.rpartition("/")[2]
        if "/poll/" in request.url:
            self.polled[part] = self.time
            return Answer(200, b"{}", {})
        if self.broken.get(part, 0.0) > self.time:
            return Answer(*self.random.choice([(500, b"sorry"), (200, b'{"error":"busy"}')]), {})
        names = [(n, m.state, m.figure) for n, m in self.markets.items() if m.part == part and m.listed]
        return Answer(200, json.dumps(names).encode(), {})

    def hear(self, connection: Connection, id: int, asked: list[str]) -> None:
        """Answer a request to subscribe in the exchange's own style."""
        if self.style == "replaces":
            connection.topics = []
        wrong = [name for name in asked if self._is_unknown(name)]
        busy = [name for name in asked if self.market(name).busy_until > self.time]
        if self.style in {"each", "hangs up"}:
            for name in asked:
                if name in wrong:
                    connection.say(kind="refused", s=name, why="no such market", meaning="final")
                    if self.style == "hangs up":
                        asyncio.get_running_loop().call_later(connection.delay, connection.end, "a topic was refused")
                        return
                elif name in busy:
                    connection.say(kind="refused", s=name, why="busy", meaning="passing")
                else:
                    self._carry(connection, name)
                    connection.say(kind="accepted", id=None, s=name)
            return
        if wrong or busy:
            numbered = {"id": id} if self.style == "whole" else {}
            final = "unknown" if self.style == "unnamed" else "final"
            why, meaning = ("busy", "passing") if busy and not wrong else ("wrong parameters", final)
            connection.say(kind="refused", why=why, meaning=meaning, **numbered)
            return
        for name in asked:
            self._carry(connection, name)
        if self.style in {"whole", "unnamed"}:
            connection.say(kind="accepted", id=id)

    def market(self, topic: str) -> Market:
        return self.markets[topic.split(":")[1]]

    def _is_unknown(self, topic: str) -> bool:
        market = self.market(topic)
        return not market.listed or market.unknown_until > self.time or topic.endswith(f":{market.lacks or '-'}")

    def count(self, connection: Connection) -> None:
        """No connection is asked more often than the exchange allows."""
        budget = self.exchange.limits.requests
        connection.asked.append(self.time)
        if budget is not None and len([t for t in connection.asked if t > self.time - budget[1]]) > budget[0]:
            self.failures.append("asked for topics too often")

    def _carry(self, connection: Connection, name: str) -> None:
        if name not in connection.topics:
            connection.topics.append(name)
        if len(connection.topics) > PER_CONNECTION:
            self.failures.append(f"{len(connection.topics)} topics on one connection")

    def trade(self) -> None:
        """A trade of every market, and its candles, to every connection that carries them."""
        for name in self.markets:
            self.numbers[name] += 1
            for connection in self.connections:
                if f"trades:{name}" in connection.topics:
                    connection.say(kind="trade", s=name, n=self.numbers[name], **{"as": self.naming})
                for interval in INTERVALS:
                    if f"candles:{name}:{interval}" in connection.topics:
                        connection.say(kind="candle", s=name, i=interval, n=self.numbers[name])

    # --- what happens -------------------------------------------------------------------------------------------------

    def appear(self) -> None:
        if len(self.markets) < self.most_markets:
            name = f"M{len(self.markets)}"
            state = self.random.choice(["trading", "trading", "halt", "pre_open"])
            lacks = self.random.choice(["", "", *INTERVALS])
            self.markets[name] = Market(self.random.choice(PARTS), state, lacks=lacks)

    def change_state(self) -> None:
        market = self.random.choice(list(self.markets.values()))
        market.state = self.random.choice(["trading", "halt", "maintenance", "pre_open"])

    def change_figure(self) -> None:
        self.random.choice(list(self.markets.values())).figure += 1

    def change_candles(self) -> None:
        self.random.choice(list(self.markets.values())).lacks = self.random.choice(["", *INTERVALS])

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
        symbols = self.random.choice([("*",), ("M0", "M1", "M2"), ("M1*",), ("*/USD",), ("*/EUR",)])
        self.followed.config.symbols = symbols  # type: ignore[misc]
        self.followed.follow()

    # --- the program --------------------------------------------------------------------------------------------------

    async def relist(self) -> None:
        try:
            listed = await self._fetch()
        except SessionError:
            return
        self.followed.markets.update(listed)
        self.runner.heed_listing()
        self.followed.follow()

    async def _fetch(self) -> Listed:
        return await fetch_listing(
            self.exchange, lambda r: self.rest.fetch(r, Need.LISTING), {}, lambda: self.now().wall
        )

    async def live(self, steps: Sequence[str]) -> list[str]:
        """One case: the failures found in it."""
        network = Network(self.dial, self.fetch, self.now)
        bus = Bus("model")
        bus.attach(self._take)
        self.rest = Rest(network, self.exchange)
        policy = ConnectionPolicy(redundancy=self.redundancy)
        self.runner = ExchangeRunner(
            self.exchange, self.channels, INTERVALS, network=network, bus=bus, rest=self.rest, policy=policy
        )
        listed = await self._fetch()
        self.followed = self.follow(Markets(listed), bus)
        self.followed.follow()
        task = asyncio.create_task(self.run())
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

    def follow(self, markets: Markets, _: Bus) -> Followed:
        """The markets that are wanted: here all of them."""
        config = SimpleNamespace(symbols=("*",), part=None)
        return Followed(config, self.exchange, self.runner, markets)  # type: ignore[arg-type]

    async def run(self) -> None:
        await self.runner.run()

    def wanted(self) -> set[str]:
        """The topics of streams that are wanted now."""
        return {topic for instrument in self.followed.chosen for topic in self.topics(str(instrument.raw_symbol))}

    def polled_wanted(self) -> set[str]:
        return {str(i.raw_symbol) for i in self.followed.chosen} if "open_interest" in self.channels else set()

    def _take(self, batch: Batch) -> None:
        for record in batch.records:
            if isinstance(record, Trade):
                key = (str(record.raw_symbol), record.size)  # the size is its number
                self.seen[key] += 1
                if self.seen[key] == 2:
                    self.failures.append(f"{key} was told twice")

    async def _settle(self) -> None:
        """Nothing happens any more: what is wanted is there, once on each line, and nothing else."""
        self.broken.clear()
        for market in self.markets.values():
            market.unknown_until = market.busy_until = 0.0
        if not any(market.listed for market in self.markets.values()):
            self.markets["M0"].listed = True  # a listing without any market is taken for a fault
        for seconds in (0, 20, 20, SETTLED, 20, 20):
            await self._pass(seconds)
            await self.relist()
        await self._pass(20)
        carried = self._carried()
        for _ in range(5):
            if max(carried.values(), default=0) > self.redundancy:  # a connection is just being replaced
                await self._pass(20)
                carried = self._carried()
        self._check_each_moment()
        wanted = self.wanted()
        for topic in wanted:
            self._check_settled(topic, carried[topic])
        for topic in carried.keys() - wanted if self._leaves else ():
            self.failures.append(f"settled, {topic} is subscribed and not wanted")
        is_had = self.style not in LONG_REFUSED and not any(self._is_unknown(topic) for topic in wanted)
        if is_had and any(not connection.topics for connection in self.connections):
            self.failures.append("settled, a connection carries nothing")
        asked = {name for name, at in self.polled.items() if at > self.time - 3 * POLLED}
        if asked != self.polled_wanted():
            self.failures.append(f"settled, polled are {asked ^ self.polled_wanted()} wrongly or not")

    def _check_settled(self, topic: str, count: int) -> None:
        """A wanted topic is there as often as it is to be; else it cannot be had, and why is told."""
        channel, name, *_ = topic.split(":")
        why_not = self.runner.why_not(channel, name)  # type: ignore[arg-type]
        may_lack = self.style in LONG_REFUSED or self._is_unknown(topic) or self._may_wait
        is_short = count < self.redundancy and not (may_lack and (why_not is not None or count))
        if is_short or (self._leaves and count > self.redundancy):
            self.failures.append(f"settled, {topic} has {count} subscriptions")

    @property
    def _leaves(self) -> bool:
        """Whether the exchange can be told what is wanted no more; else it goes on with that, and nobody hears it."""
        return self.can_leave or self.style == "replaces"

    @property
    def _may_wait(self) -> bool:
        """Whether there may be fewer places for lines, or requests for topics, than are needed."""
        limits = self.exchange.limits
        return limits.connections is not None or limits.requests is not None

    def topics(self, name: str) -> list[str]:
        """The topics of a market that streams carry."""
        candles = [f"candles:{name}:{interval}" for interval in INTERVALS] if "candles" in self.channels else []
        return [f"trades:{name}", *candles]

    def _carried(self) -> Counter[str]:
        return Counter(topic for connection in self.connections for topic in connection.topics)

    async def _pass(self, seconds: float) -> None:
        """Let time pass in which the markets are traded, and nothing else happens."""
        until = self.time + seconds
        while self.time < until:
            await asyncio.sleep(5)
            self.trade()

    def _check_each_moment(self) -> None:
        """Each wanted market has a subscription or is on the way, or a reason is told."""
        carried = {topic for connection in self.connections for topic in connection.topics}
        for topic in self.wanted() - carried:
            channel, name, *_ = topic.split(":")
            if self.why_not(channel, name) is None:  # type: ignore[arg-type]
                self.failures.append(f"at {self.time:.2f} {topic} has no subscription, and no reason is told")

    def why_not(self, channel: Channel, name: str) -> str | None:
        return self.runner.why_not(channel, name)


STEPS = (
    "appear",
    "change_state",
    "change_state",
    "vanish",
    "vanish",
    "break_part",
    "change_figure",
    "change_candles",
    "be_unknown",
    "be_busy",
    "lose_line",
    "announce_end",
    "reconfigure",
)


def play(seed: int, kind: "type[World]" = World, more: Sequence[str] = ()) -> list[str]:
    """One life, made of a seed."""
    from tests.support.virtual_time import run

    logging.disable(logging.CRITICAL)
    chance = random.Random(seed)
    steps = [chance.choice((*STEPS, *more)) for _ in range(chance.randint(1, 25))]
    world: list[World] = []

    async def main() -> list[str]:
        world.append(kind(seed))
        return await world[0].live(steps)

    try:
        failures = run(main())
    finally:
        logging.disable(logging.NOTSET)
    return [f"{world[0].about}, {steps}: {failure}" for failure in failures]
