"""A worker: a process that gathers from some exchanges of a daemon, and hands everything on to it, the hub.

It is a daemon without sinks, feed and control socket of its own: one sink, the link, has all that it publishes. It ends
with the hub, however that ends.
"""

import asyncio
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from aggregator.bus.bus import Batch
from aggregator.bus.demand import Unmet
from aggregator.bus.passing import MARK, MarkingBus, Packer
from aggregator.bus.selection import Selection, parse_pattern
from aggregator.bus.view import Wanted
from aggregator.config.config import Config
from aggregator.daemon import words
from aggregator.daemon.collector import Collector
from aggregator.daemon.daemon import GC_THRESHOLD, SWITCH_S, Daemon, run, tell_loop
from aggregator.daemon.logs import set_level, set_up, tell_repeats
from aggregator.daemon.marks import Found, Marks
from aggregator.daemon.shared_hosts import BorrowedHosts
from aggregator.daemon.shared_listings import BorrowedListings
from aggregator.daemon.signals import StackWriter
from aggregator.daemon.status import StatusQuery, encode, gather
from aggregator.errors import AggregatorError, in_short, is_of_the_machine
from aggregator.records import Gap, Record
from aggregator.sinks import link
from aggregator.sinks.link import WHOLE, WORD, LinkEnd, LinkWriter

if TYPE_CHECKING:
    from aggregator.daemon.standing_by import StandingBy

BEAT_S = 1.0
PR_SET_PDEATHSIG = 1

log = logging.getLogger("aggregator.daemon")


class WorkerDaemon(Daemon):
    """One life of a worker."""

    def __init__(self, begin: words.BeginWorker, line: socket.socket) -> None:
        """Prepare; the hub is at the other end of `line`."""
        config = Config(
            exchanges=tuple(begin.exchanges),
            sinks=(),
            state=Path(begin.state),
            log_level=begin.log_level,
        )
        capture = None if begin.capture is None else Path(begin.capture)
        self._borrowed = BorrowedHosts(self._say)
        self._marking = MarkingBus(begin.epoch)
        super().__init__(config, capture=capture, bus=self._marking, hosts=self._borrowed)
        self._turns = self.exchanges.listings.turns = BorrowedListings(self._say)
        if begin.is_successor:
            self.exchanges.listings.inherited.update(self.exchanges.configs)
        self._line = line
        self._end: LinkEnd | None = None
        self._packer = Packer()
        self._writer: LinkWriter | None = None
        self._asked: set[asyncio.Task[None]] = set()
        self._standing: dict[str, StandingBy] = {}  # exchanges that are to come here
        self._let_go: set[str] = set()  # exchanges that have gone, and are being hung up

    async def run(self) -> None:
        """Gather until the hub says that it is enough."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(tell_loop)
        end = self._end = LinkEnd(self._line)
        end.take, end.ended = self._heard, _leave_at_once
        signal.signal(signal.SIGUSR2, StackWriter(loop, name=f"worker {os.getpid()}"))
        self.marks = marks = Marks(self.config.state / "left", self.bus.epoch)
        marks.tell = self._tell_passed
        self._say(words.WorkerUp(None if marks.numbers_path is None else str(marks.numbers_path)))
        gaps = await self._keeper.do(partial(self._go_on, marks))
        self._writer = LinkWriter(end, self._packer, marks.handed, partial(self._say, words.WorkerOver()))
        await self.outputs.start([link.SINK.configured(writer=self._writer)])
        self.bus.attach(marks.heed)
        self.bus.publish([structs.replace(gap, ts_recv=time.time_ns()) for gap in gaps])
        self.bus.views.follow(self._expect)
        end.begin()
        for exchange in self.config.exchanges:
            self.exchanges.begin(exchange.id)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)
        sys.setswitchinterval(SWITCH_S)
        chores = (
            Collector().sweep(),
            self.process.watch(),
            self._beat(),
            self.attention.watch(self._keeper),
            tell_repeats(),
        )
        tasks = [loop.create_task(each) for each in chores]
        self.changes.begin()
        try:
            await self._stop.wait()
        finally:
            for task in (*tasks, *self._asked):
                task.cancel()
            await self.changes.end()
            await self._leave()
            await end.drain()

    def _go_on(self, marks: Marks) -> list[Gap]:
        """Go on with what the hub has left here; gaps that it could not tell are told here."""
        found: dict[str, Found] = {}
        for exchange in self.config.exchanges:
            try:
                found[exchange.id] = marks.take(exchange.name, exchange.id)
            except OSError as error:
                log.warning("%s: what the last run left over is lost: %s", exchange.id, error)
        self.exchanges.take_over({id: left.topics for id, left in found.items()}, marks)
        return [gap for left in found.values() for gap in left.gaps]

    def _sum_up(self) -> None:
        """Say nothing: the hub does."""

    # --- what is told beside records

    def _say(self, word: words.FromWorker) -> None:
        if self._end is not None:
            self._end.send(WORD, [words.encode(word)])

    def _expect(self, wanted: Iterable[Wanted]) -> None:
        there = list(wanted)
        if there:
            self._say(words.ExpectTopics(there))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            for id, standing in self._standing.items():
                self._say(words.StandsBy(id, standing.look(time.time_ns())))
            self._tell_passed(time.time_ns())

    def _tell_passed(self, ts: int) -> None:
        """Have the hub note that all published before a moment has come."""
        self._send_batches()
        self._say(words.WorkerBeat(ts, time.process_time()))

    def _send_batches(self) -> None:
        """Have what was published go before what is said next."""
        if self._writer is not None:
            self._writer.send()

    # --- what the hub says

    def _heard(self, kind: int, frame: memoryview) -> None:  # noqa: ARG002 - a hub sends words alone
        match words.from_hub(frame):
            case words.AskWorker(id=id, question=question):
                task = asyncio.get_running_loop().create_task(self._answer(id, question))
                self._asked.add(task)
                task.add_done_callback(self._asked.discard)
            case words.AskWhole(exchange=exchange, raw_symbol=raw_symbol):
                self._tell_whole(exchange, raw_symbol)
            case words.WantTopics(who=who, patterns=patterns):
                unmet = self.demand.want(who, patterns, partial(self._tell_unmet, who))
                self._say(words.UnmetWishes(who, unmet, is_answer=True))
            case words.HeardOfStream(exchange=exchange, lines=lines):
                if (standing := self._standing.get(exchange)) is not None:
                    standing.hear(lines)
            case words.Granted() as granted:
                self._borrowed.heard(granted)
            case words.ListingTurn() as turn:
                self._turns.heard(turn)
            case words.HostRests(host=host, until=until, words=said):
                self.hosts.rest_until(host, until, said)
            case words.LeaveNow():
                self.leave()

    def _tell_unmet(self, who: int, unmet: Sequence[Unmet]) -> None:
        self._say(words.UnmetWishes(who, list(unmet)))

    def _tell_whole(self, exchange: str, raw_symbol: str) -> None:
        book = self.bus.views.book(exchange, raw_symbol)
        self._send_batches()
        if book is None or self._end is None:
            self._say(words.NoBook(exchange, raw_symbol))
            return
        book.offset = MARK
        self._end.send(WHOLE, self._packer.pack(Batch([book], self.bus.epoch)))

    async def _answer(self, id: int, question: words.Question) -> None:
        try:
            async for piece in self._answered(question):
                self._say(words.ToldPiece(id, piece, is_end=False))
        except AggregatorError as error:
            self._say(words.ToldPiece(id, error=str(error)))
        except Exception as error:
            if not is_of_the_machine(error):
                log.exception("an error of our own")
            self._say(words.ToldPiece(id, error=in_short(error)))
        else:
            self._send_batches()
            self._say(words.ToldPiece(id))

    async def _answered(self, question: words.Question) -> AsyncIterator[bytes]:
        match question:
            case words.GatherStatus():
                yield encode(await self._gathered(question))
            case words.AnswerLine(line=line):
                async for piece in self.answers.answer(line):
                    yield piece
            case words.PauseExchange(id=id):
                yield str(await self.exchanges.pause(id)).encode()
            case words.SayTopic(topic=topic, is_wanted=is_wanted):
                yield str(await self.exchanges.say(topic, parse_pattern(topic), is_wanted=is_wanted)).encode()
            case words.ReopenCaptures():
                self.exchanges.reopen_captures()
            case words.LogFrom(level=level):
                set_level(level)
            case words.StandBy() | words.LetGo() | words.TakeOver():
                await self._move(question)
            case _:
                await self._change(question)

    async def _change(
        self, change: words.AddExchange | words.ChangeExchange | words.RemoveExchange | words.AwaitBegun
    ) -> None:
        exchanges = self.exchanges
        match change:
            case words.AddExchange(config=config) if config.id in exchanges.paused:
                await exchanges.resume(config.id)
            case words.AddExchange(config=config) if config.id not in exchanges.configs:
                exchanges.configs[config.id] = config
                exchanges.demand.add(config)
                exchanges.begin(config.id)
            case words.ChangeExchange(config=config):
                await exchanges.change(config)
            case words.RemoveExchange(id=id):
                name = exchanges.configs[id].name if id in exchanges.configs else id
                if id in exchanges.configs:
                    await exchanges.remove(id)
                self._moved(id, name)
            case words.AwaitBegun(id=id):
                await exchanges.begun(id)

    async def _move(self, question: words.StandBy | words.LetGo | words.TakeOver) -> None:
        """Do a step of an exchange's way from one worker to another (`moving.py`)."""
        marks, exchanges = self.marks, self.exchanges
        if marks is None:
            raise AggregatorError("this worker has only begun")
        match question:
            case words.StandBy(config=config, standing=standing):
                if config.id in exchanges.configs:
                    raise AggregatorError(f"{config.id} is here already")
                marks.let_be(config.name, is_ours=False)
                self._standing[config.id] = _standing_by(config.id, self._marking)
                self._standing[config.id].stands(standing)
                exchanges.configs[config.id] = config
                exchanges.demand.add(config)
                exchanges.begin(config.id)
            case words.LetGo(id=id, epoch=epoch):
                self._marking.diverted[id] = _nothing
                self._let_go.add(id)
                if (runner := exchanges.runners.get(id)) is not None:
                    await marks.hand_over(runner, epoch)
            case words.TakeOver(id=id):
                self._standing.pop(id).take_over(time.time_ns())
                await marks.go_on(exchanges.configs[id].name)
                if (runner := exchanges.runners.get(id)) is not None:
                    await marks.mark_first(runner)

    def _moved(self, id: str, name: str) -> None:
        """Forget that an exchange was to come here, or has gone; `name` is that of its part."""
        self._marking.diverted.pop(id, None)
        self._standing.pop(id, None)
        self._let_go.discard(id)
        if self.marks is not None:
            self.marks.let_be(name, is_ours=True)

    async def _gathered(self, asked: words.GatherStatus) -> words.GatheredStatus:
        selection = None if asked.patterns is None else Selection(asked.patterns)
        states: Counter[str] = Counter()
        but = frozenset({*self._standing, *self._let_go})  # another worker tells of these
        status = await gather(
            self, StatusQuery(selection, is_troubled=asked.is_troubled, most=asked.most, but=but), states
        )
        lags = [
            words.ToldLags(exchange, channel, found.counts, found.sum_s)
            for (exchange, channel), found in self.attention.tally.lags.items()
        ]
        return words.GatheredStatus(
            status.process,
            status.rest,
            status.marks,
            status.exchanges,
            status.left_out,
            status.topics,
            dict(states),
            lags,
        )


def _nothing(records: list[Record]) -> list[Record]:  # noqa: ARG001 - another worker publishes them
    return []


def _standing_by(id: str, bus: MarkingBus) -> "StandingBy":
    from aggregator.daemon.standing_by import StandingBy  # few exchanges ever move

    return StandingBy(id, bus)


def _leave_at_once() -> None:
    """The hub has gone: nobody takes what comes."""
    logging.shutdown()
    os._exit(1)


def main(fd: int) -> None:
    """Be a worker; the hub has opened the socket `fd`, and has said there what there is to do."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the hub says what is to be done
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    line = socket.socket(fileno=fd)
    begin = _first_word(line)
    logging.getLogger("aggregator.outputs").setLevel(logging.WARNING)  # the link is none of the operator's sinks
    set_up(begin.log_level, begin.log_format)  # type: ignore[arg-type]  # a hub says what it was told

    async def gather_all() -> None:
        await WorkerDaemon(begin, line).run()

    run(gather_all)
    logging.shutdown()
    os._exit(0)  # to give back all memory takes long, and the hub waits


def _first_word(line: socket.socket) -> words.BeginWorker:
    head = _exactly(line, link.HEAD.size)
    length, _ = link.HEAD.unpack(head)
    word = words.from_hub(_exactly(line, length))
    if not isinstance(word, words.BeginWorker):
        raise SystemExit(1)
    return word


def _exactly(line: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        data = line.recv(size - len(found))
        if not data:
            raise SystemExit(1)
        found += data
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]))
