"""The exchanges of a daemon: each is begun, tried again, changed, paused and ended by itself."""

import asyncio
import logging
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path

from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.bus.selection import Pattern
from aggregator.capture.recorder import CLOSE_S, Recorder
from aggregator.catalog.registry import load_exchange
from aggregator.config.config import ExchangeConfig
from aggregator.daemon.attention import Attention
from aggregator.daemon.by_hand import ByHand
from aggregator.daemon.followed import Followed, in_steps, intervals_of
from aggregator.daemon.marks import Marks
from aggregator.daemon.on_demand import OnDemand
from aggregator.daemon.relisting import Listings
from aggregator.errors import AggregatorError, SessionError, in_short, is_of_the_machine
from aggregator.exchange import Exchange
from aggregator.ingest import checkpoint_file
from aggregator.ingest.credentials import lacking
from aggregator.ingest.lines import read_clocks
from aggregator.ingest.network import Internet, Network, moved
from aggregator.ingest.rest import Hosts, Rest
from aggregator.ingest.runner import STEP, ExchangeRunner, for_rest, limits_of_one
from aggregator.ingest.shard import ConnectionPolicy
from aggregator.ingest.signing import Keyring
from aggregator.records import Gap, Instrument, Record
from aggregator.session.topics import Standing, TopicCheckpoint, closed
from aggregator.sinks.worker import Worker

RETRY_LISTING_S = 5.0  # doubles
LONGEST_RETRY_S = 300.0
OPEN_S = 5.0  # the disk has so long to begin a capture
PAUSED = "paused by the operator"  # the reason with which topics end then
# Keys of an exchange whose change is one of what its connections carry; with any other it is begun anew.
LIVE_KEYS = frozenset({
    "channels", "intervals", "symbols", "relist", "max_topics", "linger", "on_start_error", "part",
})  # fmt: skip

log = logging.getLogger("aggregator.daemon")


class RunningExchanges:
    """Every exchange of one daemon.

    runners, followed: by exchange, while it runs
    troubles: by exchange, why it could not be run the last time
    recorders: by exchange, where its frames are captured
    paused: exchanges that an operator has paused, and the gap that each of their topics has for that
    listings: of instruments
    """

    def __init__(
        self,
        exchanges: Iterable[ExchangeConfig],
        bus: Bus,
        hosts: Hosts,
        attention: Attention,
        keeper: Worker,
        state: Path,
        capture: Path | None,
    ) -> None:
        """Prepare; nothing is asked for before `begin`.

        keeper: does what has to do with the disk
        capture: a directory for the raw frames of every exchange; null: they are not kept
        """
        self.configs = {config.id: config for config in exchanges}
        self.runners: dict[str, ExchangeRunner] = {}
        self.followed: dict[str, Followed] = {}
        self.troubles: dict[str, str] = {}
        self.recorders: dict[str, Recorder] = {}
        self.paused: set[str] = set()
        self.marks: Marks | None = None
        self.demand = OnDemand(list(self.configs.values()), bus, self.troubles)
        self._bus = bus
        self._hosts = hosts
        self._attention = attention
        self._keeper = keeper
        self._capture = capture
        self.listings = Listings(state / "instruments")
        self._networks: dict[str, Internet] = {}
        self._tls: ssl.SSLContext | None = None  # all exchanges share it: reading the certificates takes 10 to 30 ms
        self._opener = Worker("captures")
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._first: dict[str, asyncio.Future[None]] = {}  # by exchange, done once its first attempt was a good one
        self._by_hand: dict[str, ByHand] = {}
        self._left: dict[str, checkpoint_file.Topics] = {}  # checkpoints of the attempt, or the run, before
        self._began: set[str] = set()  # exchanges that were run, and left over something themselves

    # --- from outside -----------------------------------------------------------------------------------------------

    def take_over(self, left: Mapping[str, checkpoint_file.Topics], marks: Marks) -> None:
        """Begin with what the run before has left of each exchange."""
        self._left |= left
        self.marks = marks

    def begin(self, id: str) -> None:
        """Begin an exchange of `configs`; it is tried again until it runs."""
        loop = asyncio.get_running_loop()
        self._first[id] = loop.create_future()
        self._tasks[id] = loop.create_task(self._keep(self.configs[id]), name=f"exchange {id}")

    async def begun(self, id: str) -> None:
        """Wait for the first attempt, where the configuration makes that a condition.

        Raises AggregatorError where it has failed; the exchange is not tried again then.
        """
        if self.configs[id].on_start_error == "fail":
            await asyncio.shield(self._first[id])

    async def add(self, config: ExchangeConfig) -> None:
        """Begin an exchange that was not there. Raises AggregatorError where it must not fail, and has; it is gone."""
        self.configs[config.id] = config
        self.demand.add(config)
        self.begin(config.id)
        try:
            await self.begun(config.id)
        except BaseException:
            await self.remove(config.id)
            raise

    async def remove(self, id: str) -> None:
        """End an exchange: its topics end as those that nobody wants any more."""
        await self._end(id, "no longer wanted")
        self._close_left(id)
        await self._keep_left(id)
        self.demand.remove(id)
        self._forget_instruments(id, ())
        self.paused.discard(id)
        del self.configs[id]
        for by_id in (self.troubles, self._by_hand):
            by_id.pop(id, None)

    async def change(self, config: ExchangeConfig) -> None:
        """Have an exchange follow another configuration, on its connections where that can be.

        Raises AggregatorError where it must not fail to begin anew, and has: then it is as it was before.
        """
        before = self.configs[config.id]
        if not begins_anew(before, config):
            await self._follow(config, self._by_hand.get(config.id))
            return
        try:
            await self._begin_anew(config)
        except BaseException:
            await self._begin_anew(before)
            raise

    async def say(self, text: str, pattern: Pattern, *, is_wanted: bool) -> int:
        """Follow the topics of a pattern from now on, or do without them, whatever the configuration says.

        Gives how many topics of the exchange are followed now. Raises AggregatorError where it names none.
        """
        id = pattern.exchange
        followed = self.followed.get(id)
        if id not in self.configs:
            raise AggregatorError(f"{id!a:.80} is not among the exchanges of the configuration; name one of them")
        if followed is None:
            said = "it is paused" if id in self.paused else self.troubles.get(id, "its instruments are being asked for")
            raise AggregatorError(f"{id} does not run: {said}")
        if not any(channel in followed.exchange.channels for channel in pattern.channels):
            raise AggregatorError(f"{id} has no such channel: {', '.join(followed.exchange.channels)}")
        if not followed.means(pattern.symbol):
            raise AggregatorError(f"{id} lists no {pattern.symbol!a:.80}")
        by_hand = self._by_hand.get(id, ByHand()).copy()
        by_hand.say(text, pattern, is_wanted=is_wanted)
        await self._follow(self.configs[id], by_hand)
        log.warning("%s: %s by hand: %s", id, "followed" if is_wanted else "not followed any more", text)
        runner = self.runners.get(id)
        return 0 if runner is None else sum(1 for _ in runner.wanted())

    async def pause(self, id: str) -> int:
        """End an exchange until `resume`: each of its topics has a gap. Gives how many. Raises AggregatorError."""
        self._named(id)
        if id in self.paused:
            raise AggregatorError(f"{id} is paused already")
        self.paused.add(id)
        runner = self.runners.get(id)
        followed = () if runner is None else tuple(found for found in runner.standing() if found[1].is_followed)
        await self._end(id, PAUSED)
        await self._tell(list(self._gaps(id, followed)))
        await self._keep_left(id)
        log.warning("%s: paused; `aggregator ctl resume %s` goes on", id, id)
        return len(followed)

    async def resume(self, id: str) -> None:
        """Go on with an exchange that is paused. Raises AggregatorError."""
        self._named(id)
        if id not in self.paused:
            raise AggregatorError(f"{id} is not paused")
        self.paused.remove(id)
        self.begin(id)
        log.warning("%s: resumed", id)

    async def stop(self) -> None:
        """Hang up all exchanges: gaps of their topics stay open until the next start."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def close(self) -> None:
        """Close what they have used, once the sinks have what they said."""
        for network in self._networks.values():
            await network.close()
        await asyncio.gather(*map(self._keep_left, self._left.keys() - self._began))
        self._opener.stop()

    def reopen_captures(self) -> int:
        """Close every capture, and begin new ones; how many there are."""
        for id, recorder in self.recorders.items():
            recorder.reopen(partial(self._capture_path, id))
        return len(self.recorders)

    # --- one exchange -----------------------------------------------------------------------------------------------

    def _named(self, id: str) -> None:
        if id not in self.configs:
            raise AggregatorError(f"{id!a:.80} is not among the exchanges: {', '.join(self.configs)}")

    async def _keep(self, config: ExchangeConfig) -> None:
        """Run one exchange; whatever goes wrong with it stops no other."""
        id, wait = config.id, RETRY_LISTING_S
        exchange = load_exchange(id)
        if exchange is None:
            log.error("%s: no connector", id)
            self._failed(id, "no connector")
            return
        streams = [stream.url for stream in exchange.streams if isinstance(stream.url, str)]
        for prefix, today in moved(config.endpoints, [*streams, *(r.url for r in exchange.listing.all_requests)]):
            log.warning("%s: the endpoint %s replaces nothing: the exchange is at %s", id, prefix, today)
        if not self._has_its_keys(config, exchange):
            self._failed(id, self.troubles[id])
            return
        network, keyring = await self._network(config, exchange)
        network = await self._attention.at(id, network, self._keeper, config.name)
        rest = Rest(network, exchange, self._hosts)
        while True:
            pause = wait
            try:
                if keyring is not None:
                    await keyring.read()
                await self._run_exchange(exchange, network, rest, keyring)
            except SessionError as error:
                pause = max(wait, error.wait)
                log.warning("%s: %s; again in %.0f s", id, error.brief, pause)
                self.troubles[id] = str(error)
            except Exception as error:
                if is_of_the_machine(error):
                    self.troubles[id] = in_short(error)
                    log.error("%s: %s; again in %.0f s", id, in_short(error), wait)  # noqa: TRY400 - no fault of ours
                else:
                    self.troubles[id] = f"an error of our own: {type(error).__name__}: {error}"
                    log.exception("%s: an error of our own; again in %.0f s", id, wait)
            self._forget(id)
            if self._failed(id, self.troubles.get(id, "")):
                return
            await asyncio.sleep(pause)
            wait = min(wait * 2, LONGEST_RETRY_S)

    def _failed(self, id: str, reason: str) -> bool:
        """Tell whether an exchange is given up, as its first attempt must not fail; whoever waits for that is told."""
        first = self._first.get(id)
        if first is None or first.done() or self.configs[id].on_start_error != "fail":
            return False
        first.set_exception(AggregatorError(f"{id} cannot be begun, and its on_start_error is fail: {reason}"))
        return True

    def _has_its_keys(self, config: ExchangeConfig, exchange: Exchange) -> bool:
        """Tell whether an exchange gives anything with the keys that there are; say which ones it needs else."""
        if exchange.keys is None or config.credentials:
            return True
        words = lacking(exchange, config.channels)
        if words is None:
            return True
        log.error("%s", words)
        if exchange.with_keys != "all":
            return True
        self.troubles[config.id] = words
        return False

    async def _run_exchange(self, exchange: Exchange, network: Network, rest: Rest, keyring: Keyring | None) -> None:
        id = exchange.id
        config = self.configs[id]
        is_shared = config.processes > 1
        markets = await self.listings.first(
            exchange, rest, config.max_instruments, is_shared=is_shared, relist=config.relist
        )
        config = self.configs[id]  # it may be another one by now
        runner = ExchangeRunner(
            exchange,
            [channel for channel in config.channels if channel in exchange.channels],
            intervals_of(config),
            network=network,
            bus=self._bus,
            rest=rest,
            policy=ConnectionPolicy(config.redundancy, config.lifetime, config.verify, config.audit),
            left=self._left.pop(id, {}),
            most=config.max_topics,
            notes=None if self.marks is None else self.marks.notes(config.name),
            keyring=keyring,
            name=config.name,
            processes=config.processes,
        )
        self.runners[id] = runner
        offer = self.demand.offers[id]
        followed = self.followed[id] = Followed(config, exchange, runner, markets, offer, self._by_hand.get(id))
        async with followed.changing:
            await in_steps(followed.choosing())
            self._attention.know(id, markets.instruments)
            await self._announce(await asyncio.to_thread(followed.named, markets.instruments))
            await in_steps(followed.carrying())
        log.info(
            "%s: %d instruments, %d connections, %d polls",
            id,
            len(followed.chosen),
            len(runner.shards),
            len(runner.pollers),
        )
        self._began.add(id)
        try:
            if self.marks is not None:
                self.marks.begin(config.name)
                await self.marks.mark_first(runner)
            first = self._first.get(id)
            if first is not None and not first.done():
                first.set_result(None)
            async with asyncio.TaskGroup() as group:
                group.create_task(runner.run())
                if self.marks is not None:
                    group.create_task(self.marks.keep(runner))
                if config.on_demand:
                    group.create_task(offer.run(followed))
                if exchange.listing.requests:
                    group.create_task(self.listings.again(followed, self._announce))
        finally:
            self._left[id] = runner.carried()
            await self._keep_left(id)

    async def _follow(self, config: ExchangeConfig, by_hand: ByHand | None) -> None:
        """Follow another configuration on the connections that there are. An error has changed nothing."""
        id, before = config.id, self.configs[config.id]
        followed, offer = self.followed.get(id), self.demand.offers[id]
        self.configs[id] = config
        offer.configure(config)
        if followed is not None:
            try:
                await followed.reconfigure(config, by_hand or ByHand(), self._announce_new)
            except BaseException:
                self.configs[id] = before
                offer.configure(before)
                raise
        if by_hand is not None:
            self._by_hand[id] = by_hand

    async def _begin_anew(self, config: ExchangeConfig) -> None:
        """Hang up an exchange, and begin it by another configuration: the gaps of its topics close as it goes on."""
        id = config.id
        await self._hang_up(id)
        self.configs[id] = config
        self.demand.add(config)
        if id not in self.paused:
            self.begin(id)
            await self.begun(id)

    async def _end(self, id: str, reason: str) -> None:
        """Release all topics of an exchange, and hang up; what is left is that which has come of them."""
        followed = self.followed.get(id)
        if followed is None:
            await self._hang_up(id)
            return
        async with followed.changing:
            await in_steps(followed.runner.wanting([], reason))
            await self._hang_up(id)
            self._left[id] = followed.runner.rested

    async def _hang_up(self, id: str) -> None:
        task = self._tasks.pop(id, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        first = self._first.pop(id, None)
        if first is not None and not first.done():
            first.cancel()
        self._forget(id)
        await self._attention.forget(id, self._keeper)
        network, recorder = self._networks.pop(id, None), self.recorders.pop(id, None)
        if recorder is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await asyncio.wrap_future(recorder.end())
            recorder.sum_up()
        if network is not None:
            await network.close()

    def _forget(self, id: str) -> None:
        self.demand.offers[id].close()
        self.followed.pop(id, None)
        runner = self.runners.pop(id, None)
        if runner is not None:
            runner.leave()

    # --- what is left over --------------------------------------------------------------------------------------------

    async def _keep_left(self, id: str) -> None:
        """Keep on the disk what the next attempt begins with, be it in this run or in the next."""
        if self.marks is None:
            return
        config = self.configs.get(id)
        try:
            await self.marks.leave(id if config is None else config.name, self._left.get(id, {}))
        except (OSError, OverflowError) as error:
            log.warning("%s: open gaps cannot be kept for the next start: %s", id, error)

    def left_open(self, id: str) -> Iterator[Gap]:
        """The open gaps of an exchange that does not run, or has not begun to: whoever goes on closes them."""
        left = [topic.gap for topics in self._left.get(id, {}).values() for topic in topics.values()]
        yield from (gap for gap in left if gap is not None)

    def _gaps(self, id: str, followed: Iterable[tuple[str, Standing]]) -> Iterator[Record]:
        """Open a gap of each topic that was followed until now, and leave it to whoever goes on."""
        now, left = time.time_ns(), self._left.setdefault(id, {})
        for feed, standing in followed:
            channel, raw_symbol = standing.key
            conn = f"{id}/{feed}"
            gap = Gap(
                exchange=id,
                symbol=standing.symbol,
                raw_symbol=raw_symbol,
                ts_recv=now,
                conn=conn,
                source="derived",
                gap_id=f"{conn}:{channel}:{raw_symbol or '*'}:{now}",
                phase="open",
                channel=channel,
                cause="paused",
                ts_from=now,
            )
            topics = left.setdefault(feed, {})
            before = topics.get(standing.key) or TopicCheckpoint()
            topics[standing.key] = structs.replace(before, gap=gap, is_rested=False)
            yield structs.replace(gap)

    def _close_left(self, id: str) -> None:
        """End the gaps that an exchange has left open and that nobody will close."""
        now, gaps = read_clocks(), list(self.left_open(id))
        self._left.pop(id, None)
        self._bus.publish([closed(gap, gap.conn, now) for gap in gaps])

    # --- instruments --------------------------------------------------------------------------------------------------

    async def _announce(self, instruments: Sequence[Instrument]) -> None:
        """Publish what is new of the instruments in force (copies: the stream stamps each record once)."""
        for start in range(0, len(instruments), STEP):
            part = instruments[start : start + STEP]
            for instrument in part:
                if instrument.change == "delist":
                    self._bus.instruments.pop(_key(instrument), None)
                else:
                    self._bus.instruments[_key(instrument)] = instrument
            await self._tell(part)

    async def _announce_new(self, followed: Followed) -> None:
        """Publish the instruments that are named now and were not before."""
        named = await asyncio.to_thread(followed.named, followed.markets.instruments)
        self._forget_instruments(followed.exchange.id, named)
        await self._announce([instrument for instrument in named if _key(instrument) not in self._bus.instruments])

    def _forget_instruments(self, id: str, but: Iterable[Instrument]) -> None:
        """Let the instruments of an exchange no longer be in force that nobody names."""
        named = {_key(instrument) for instrument in but}
        for key in [key for key in self._bus.instruments if key[0] == id and key not in named]:
            del self._bus.instruments[key]

    async def _tell(self, records: Sequence[Record]) -> None:
        for start in range(0, len(records), STEP):
            self._bus.publish([structs.replace(r, ts_recv=time.time_ns()) for r in records[start : start + STEP]])
            await asyncio.sleep(0)

    # --- the network ------------------------------------------------------------------------------------------------

    async def _network(self, config: ExchangeConfig, exchange: Exchange) -> tuple[Network, Keyring | None]:
        """The network of an exchange: the keyring is below the recorder, which must not know what it signs."""
        self._tls = self._tls or ssl.create_default_context()
        limits = limits_of_one(exchange.limits, config.processes)
        internet = Internet(config.endpoints, config.route, for_rest(limits), self._tls)
        self._networks[config.id] = internet
        network, keyring = internet.network(), None
        if exchange.keys is not None and config.credentials:
            keyring = Keyring(exchange.id, exchange.keys, config.credentials, network)
            network = keyring.network()
        if self._capture is None:
            return network, keyring
        begin = partial(self._record, config.id, network)
        try:
            async with asyncio.timeout(OPEN_S):
                recorder = self.recorders[config.id] = await self._opener.do(begin)
        except OSError as error:
            said = "the disk does not answer" if isinstance(error, TimeoutError) else error
            log.error("%s: gathered without a capture, which cannot be begun: %s", config.id, said)  # noqa: TRY400 - no fault of ours
            return network, keyring
        return recorder.network(), keyring

    def _record(self, id: str, network: Network) -> Recorder:
        return Recorder(self._capture_path(id), id, network)

    def _capture_path(self, id: str) -> Path:
        """Where the frames of an exchange go that come from now on: a file that nobody writes to."""
        config = self.configs.get(id)
        stem = f"{id if config is None else config.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        names = (f"{stem}-{number}" if number > 1 else stem for number in count(1))
        paths = ((self._capture or Path()) / f"{name}.jsonl.zst" for name in names)
        return next(path for path in paths if not path.exists())


def changed_keys(before: ExchangeConfig, after: ExchangeConfig) -> list[str]:
    """The keys of which two configurations of an exchange have different values."""
    names = ExchangeConfig.__struct_fields__
    return [name for name in names if getattr(before, name) != getattr(after, name)]


def begins_anew(before: ExchangeConfig, after: ExchangeConfig) -> bool:
    """Tell whether an exchange has to begin anew to go by another configuration."""
    return not LIVE_KEYS.issuperset(changed_keys(before, after))


def _key(instrument: Instrument) -> tuple[str, str]:
    return instrument.exchange, instrument.symbol or instrument.raw_symbol or ""
