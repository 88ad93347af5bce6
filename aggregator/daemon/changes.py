"""An operator changes a daemon that runs: another configuration, a pause, topics by hand. One comes after the other.

A configuration is applied as the difference to the one in force: steps, each of which knows how it is undone. Where one
fails, those before it are undone, the last first.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from msgspec import structs

from aggregator.bus.selection import parse_pattern
from aggregator.cluster.shared import SharedConfig
from aggregator.config.config import Config, ExchangeConfig
from aggregator.daemon.logs import set_level
from aggregator.daemon.running_exchanges import changed_keys
from aggregator.daemon.systemd import ready, reloading
from aggregator.errors import AggregatorError, ConfigError, in_short
from aggregator.sinks.sink import SinkConfig
from aggregator.sources.source import SourceConfig

if TYPE_CHECKING:
    from aggregator.cluster.settings import ClusterKeys
    from aggregator.daemon.clustered import ClusteredExchanges
    from aggregator.daemon.daemon import Daemon
    from aggregator.daemon.running_exchanges import RunningExchanges
    from aggregator.daemon.workers import Workers

Reread = Callable[[SharedConfig | None], Config]
Act = Callable[[], Awaitable[object]]
TOO_SOON = "the daemon has only begun: ask again when it is up"
T = TypeVar("T")
C = TypeVar("C")

log = logging.getLogger("aggregator.daemon")


class Step(NamedTuple):
    """One part of a change, in words without values, as these may be secrets; how it is done, and undone."""

    words: str
    do: Act
    undo: Act


class Changes:
    """The changes to one daemon."""

    def __init__(self, daemon: "Daemon", reread: Reread | None) -> None:
        """Prepare; nothing is changed before `begin`.

        reread: reads the configuration anew, with what a cluster shares where there is that, and raises ConfigError
            with all that is wrong; null: it is fixed
        """
        self._daemon = daemon
        self._reread = reread
        self._shared: SharedConfig | None = None  # the cluster's, as it is in force here
        self._is_up = asyncio.Event()
        self._changing = asyncio.Lock()
        self._asked: asyncio.Task[None] | None = None  # a reload that a signal has asked for, and that has not begun
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """The daemon is up: what is asked for is done from now on."""
        self._is_up.set()

    async def end(self) -> None:
        """Leave off whatever is being done: the daemon ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reload_soon(self) -> None:
        """Have the configuration read again, as SIGHUP asks; the log says what comes of it."""
        if self._asked is not None:
            return
        self._asked = asyncio.get_running_loop().create_task(self._reload_as_asked(), name="reload")
        self._tasks.add(self._asked)
        self._asked.add_done_callback(self._tasks.discard)

    async def _reload_as_asked(self) -> None:
        await self._is_up.wait()
        async with self._changing:
            self._asked = None
            with suppress(AggregatorError):  # the log has it
                await self._reload(self._shared)

    async def reload(self) -> list[str]:
        """Read the configuration again, and apply the difference; in words what was done.

        Raises AggregatorError with all that is wrong; nothing has changed then.
        """
        return await self._in_turn(lambda: self._reload(self._shared))

    async def share(self, shared: SharedConfig) -> list[str]:
        """Go by a revision of what the cluster shares, in the place of this daemon's own; in words what was done.

        Raises AggregatorError with all that is wrong; nothing has changed then.
        """
        await self._is_up.wait()
        return await self._in_turn(partial(self._reload, shared if shared.text else None))

    async def pause(self, exchange: str) -> int:
        """Pause an exchange; how many topics have a gap for that. Raises AggregatorError."""
        return await self._in_turn(partial(self._daemon.exchanges.pause, exchange))

    async def resume(self, exchange: str) -> None:
        """Go on with a paused exchange. Raises AggregatorError."""
        await self._in_turn(partial(self._daemon.exchanges.resume, exchange))

    async def move(self, exchange: str, worker: int | None) -> int:
        """Have another worker gather an exchange; its number. Raises AggregatorError. Other changes do not wait for it.

        worker: the number of that one; null: the one with the least load
        """
        if self._daemon.workers is None:
            raise AggregatorError("this daemon gathers in one process: `workers` in its configuration makes it several")
        if not self._is_up.is_set():
            raise AggregatorError(TOO_SOON)
        return await self._daemon.workers.moves.move(exchange, worker, "an operator has asked for it")

    async def say(self, topic: str, *, is_wanted: bool) -> int:
        """Follow a topic, or do without it; how many topics of its exchange are followed then.

        Raises BadPattern or another AggregatorError.
        """
        pattern = parse_pattern(topic)
        return await self._in_turn(partial(self._daemon.exchanges.say, topic, pattern, is_wanted=is_wanted))

    async def _in_turn(self, act: Callable[[], Awaitable[T]]) -> T:
        if not self._is_up.is_set():
            raise AggregatorError(TOO_SOON)
        async with self._changing:
            return await act()

    # --- another configuration ----------------------------------------------------------------------------------------

    async def _reload(self, shared: SharedConfig | None) -> list[str]:
        reloading()
        try:
            done = await self._apply(shared)
        except AggregatorError as error:
            for line in str(error).splitlines():
                log.error("the configuration is not changed: %s", line)  # noqa: TRY400 - it is the operator's
            ready()
            raise
        ready()
        log.warning("the configuration is read again: %s", "; ".join(done) or "nothing is different")
        return done

    async def _apply(self, shared: SharedConfig | None) -> list[str]:
        if self._reread is None:
            raise AggregatorError("this daemon was not begun with a file")
        daemon, before = self._daemon, self._daemon.config
        after = await asyncio.to_thread(self._reread, shared)
        for warning in after.warnings:
            log.warning("%s", warning)
        fixed = list(fixed_differences(before, after))
        if fixed:
            raise ConfigError("\n".join(f"{key} cannot change while the daemon runs: restart it" for key in fixed))
        done: list[Step] = []
        for step in steps(daemon, before, after):
            try:
                await step.do()
            except Exception as error:
                is_ours = not isinstance(error, AggregatorError | OSError)
                log.error("%s: %s", step.words, in_short(error), exc_info=error if is_ours else None)  # noqa: TRY400 - only an error of ours has a traceback
                undone = await self._undo(done)
                raise ConfigError(f"{step.words}: {in_short(error)}; {undone}") from error
            done.append(step)
        daemon.config, self._shared = after, shared
        words = [step.words for step in done]
        if after.required != before.required:
            await daemon.required()
            words.append("other required topics")
        return words

    async def _undo(self, done: Sequence[Step]) -> str:
        """Undo steps, the last first; in words what came of it."""
        failed: list[str] = []
        for step in reversed(done):
            try:
                await step.undo()
            except Exception as error:
                log.exception("cannot be undone: %s", step.words)
                failed.append(f"{step.words}: {in_short(error)}")
        return f"what could not be undone: {'; '.join(failed)}" if failed else "all is as it was before"


def fixed_differences(before: Config, after: Config) -> Iterator[str]:
    """The keys that differ and are those of a daemon's whole life."""
    for key in ("state", "control", "log_format", "workers"):
        if getattr(before, key) != getattr(after, key):
            yield key
    if _without_shared(before) != _without_shared(after):
        yield "cluster"
    buckets = {config.id: config.buckets for config in before.exchanges}
    for config in after.exchanges:
        if buckets.get(config.id, config.buckets) != config.buckets:
            yield f"buckets of {config.id}"
    for name in ("journal", "feed"):
        old, new = ([sink for sink in config.sinks if sink.sink.name == name] for config in (before, after))
        if len(old) != len(new):
            yield f"whether there is a [{name}]"
        for one, other in zip(old, new, strict=False):
            keys = one.sink.settings.__struct_fields__
            yield from (f"{name}.{key}" for key in keys if getattr(one.settings, key) != getattr(other.settings, key))


def _without_shared(config: Config) -> "ClusterKeys | None":
    return None if config.cluster is None else structs.replace(config.cluster, needs=None, buckets=None)


def steps(daemon: "Daemon", before: Config, after: Config) -> Iterator[Step]:
    """The difference of two configurations, as steps: what may fail and what is new first, what goes last."""
    yield from _of_cluster(daemon, before, after)
    leaving: list[Step] = []
    for part in (_of_sinks, _of_exchanges, _of_sources):
        coming, going = part(daemon, before, after)
        yield from coming
        leaving = going + leaving  # sinks go last, as the others have last words
    yield from leaving
    if before.log_level != after.log_level:
        to, back = (partial(_called, partial(_log_from, daemon, each.log_level)) for each in (after, before))
        yield Step("another log_level", to, back)


def _of_cluster(daemon: "Daemon", before: Config, after: Config) -> Iterator[Step]:
    clustered, old, new = daemon.clustered, before.cluster, after.cluster
    if clustered is not None and old is not None and new is not None and old != new:
        yield Step("other needs or buckets of members", partial(clustered.share, new), partial(clustered.share, old))


def _of_sinks(daemon: "Daemon", before: Config, after: Config) -> tuple[list[Step], list[Step]]:
    outputs = daemon.outputs
    replaced, new, gone = _sinks(before.sinks, after.sinks)
    coming = [
        Step(
            f"sink {sink.name}: drained and begun anew",
            partial(outputs.replace, old, sink),
            partial(outputs.replace, sink, old),
        )
        for old, sink in replaced
    ]
    coming += [
        Step(f"sink {sink.name}: new", partial(outputs.add, sink), partial(outputs.remove, sink.name)) for sink in new
    ]
    going = [
        Step(f"sink {sink.name}: gone", partial(outputs.remove, sink.name), partial(outputs.add, sink)) for sink in gone
    ]
    return coming, going


def _of_exchanges(daemon: "Daemon", before: Config, after: Config) -> tuple[list[Step], list[Step]]:
    exchanges = _exchanges(daemon)
    gone, new, changed = _compared(before.exchanges, after.exchanges, lambda config: config.id)
    coming = [
        Step(f"{config.id}: new", partial(_gather, daemon, config), partial(exchanges.remove, config.id))
        for config in new
    ]
    coming += [
        Step(
            f"{config.id}: other {', '.join(changed_keys(old, config))}",
            partial(exchanges.change, config),
            partial(exchanges.change, old),
        )
        for old, config in changed
    ]
    going = [
        Step(f"{config.id}: gone", partial(exchanges.remove, config.id), partial(exchanges.add, config))
        for config in gone
    ]
    return coming, going


def _of_sources(daemon: "Daemon", before: Config, after: Config) -> tuple[list[Step], list[Step]]:
    gone, new, changed = _compared(before.sources, after.sources, lambda config: config.name)

    def add(source: SourceConfig) -> Act:
        return partial(_called, partial(daemon.sources.add, source))

    def remove(source: SourceConfig) -> Act:
        return partial(daemon.sources.remove, source.name, is_wanted=False)

    coming = [
        Step(
            f"source {source.name}: begun anew",
            partial(_begin_anew, daemon, source),
            partial(_begin_anew, daemon, old),
        )
        for old, source in changed
    ]
    coming += [Step(f"source {source.name}: new", add(source), remove(source)) for source in new]
    return coming, [Step(f"source {source.name}: gone", remove(source), add(source)) for source in gone]


def _log_from(daemon: "Daemon", level: str) -> None:
    set_level(level)
    if daemon.workers is not None:
        daemon.workers.set_level(level)


async def _called(call: Callable[[], object]) -> None:
    call()


def _exchanges(daemon: "Daemon") -> "ClusteredExchanges | RunningExchanges | Workers":
    """Whoever has exchanges gathered: in a cluster its member, which has that done while it is in line for them."""
    return daemon.clustered or daemon.exchanges


async def _gather(daemon: "Daemon", config: ExchangeConfig) -> None:
    """Begin with an exchange, which comes by no source any more."""
    await _exchanges(daemon).add(config)
    daemon.sources.let_go(config.id)


async def _begin_anew(daemon: "Daemon", source: SourceConfig) -> None:
    await daemon.sources.remove(source.name, is_wanted=True)
    daemon.sources.add(source)


def _compared(
    before: Iterable[C], after: Iterable[C], name_of: Callable[[C], str]
) -> tuple[list[C], list[C], list[tuple[C, C]]]:
    """Those that are gone, those that are new, and the pairs of those that differ."""
    old, new = ({name_of(each): each for each in some} for some in (before, after))
    return (
        [each for name, each in old.items() if name not in new],
        [each for name, each in new.items() if name not in old],
        [(old[name], each) for name, each in new.items() if name in old and old[name] != each],
    )


def _sinks(
    before: Iterable[SinkConfig], after: Iterable[SinkConfig]
) -> tuple[list[tuple[SinkConfig, SinkConfig]], list[SinkConfig], list[SinkConfig]]:
    """Pairs of sinks of which one takes the place of the other, sinks that are new, and sinks that are gone.

    A sink takes the place of one of its type, even elsewhere: what comes meanwhile waits for it.
    """
    old, new = list(before), list[SinkConfig]()
    for sink in after:
        if sink in old:
            old.remove(sink)
        else:
            new.append(sink)
    pairs: list[tuple[SinkConfig, SinkConfig]] = []
    for sink in list(new):
        alike = [each for each in old if each.sink is sink.sink]
        found = next((each for each in alike if each.name == sink.name), alike[0] if alike else None)
        if found is not None:
            pairs.append((found, sink))
            old.remove(found)
            new.remove(sink)
    return pairs, new, old
