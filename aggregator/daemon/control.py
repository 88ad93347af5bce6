"""The control socket: whoever may run the daemon asks it how it fares, and has it do what signals do.

One JSON object on a line is a request, one on a line the answer; `docs/status.md` describes both. The socket's file is
its owner's alone, and still everything that comes there is bounded: lines, clients, time.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec
from msgspec import Struct

from aggregator.bus.selection import BadPattern, parse_pattern
from aggregator.daemon.explain import MOST_EXPLAINED, Explanation, explain
from aggregator.daemon.signals import stacks
from aggregator.daemon.status import DaemonStatus, asked_for, encode, gather, in_pieces
from aggregator.daemon.tap import NothingToTap, Tap
from aggregator.errors import AggregatorError
from aggregator.feed.protocol import BadRequest
from aggregator.feed.socket_file import Listener

if TYPE_CHECKING:
    from aggregator.daemon.daemon import Daemon

MODE = 0o600
LONGEST_LINE_BYTES = 64 * 1024
MOST_CLIENTS = 8
IDLE_S = 10.0  # a client that asks nothing for so long is hung up on
SENDING_S = 30.0  # it has so long to read an answer
OPERATIONS = (
    '{"op":"status","topics":["channel:exchange:symbol"]}, {"op":"explain","topic":"channel:exchange:symbol"}, '
    '{"op":"tap","topic":"channel:exchange:symbol"}, {"op":"stacks"}, {"op":"rotate"}, {"op":"reload"}, '
    '{"op":"pause","exchange":"ID"}, {"op":"resume","exchange":"ID"}, {"op":"subscribe","topic":"TOPIC"}, '
    '{"op":"unsubscribe","topic":"TOPIC"}, {"op":"move","exchange":"ID"}'
)

log = logging.getLogger("aggregator.daemon")


# --- what is asked ----------------------------------------------------------------------------------------------------


class StatusRequest(Struct, tag_field="op", tag="status", forbid_unknown_fields=True):
    """Ask how everything is.

    topics: patterns (`channel:exchange:symbol`) of the topics to tell of; without one none is told, or all in trouble
    only: `all`, or `troubled`: those that are neither live nor quiet
    most: tell of no more topics than this
    """

    topics: list[str] = []
    only: Literal["all", "troubled"] = "all"
    most: int = 1000


class StacksRequest(Struct, tag_field="op", tag="stacks", forbid_unknown_fields=True):
    """Ask what every thread and task is at.

    SIGUSR2 writes the same to standard error, also where the loop is stuck and answers nobody.
    """


class RotateRequest(Struct, tag_field="op", tag="rotate", forbid_unknown_fields=True):
    """Close every file that is written to, and begin new ones, as SIGUSR1 does."""


class ExplainRequest(Struct, tag_field="op", tag="explain", forbid_unknown_fields=True):
    """Ask why a topic is live or is not.

    topic: `channel:exchange:symbol`; of a pattern the first ten topics that fit are explained
    """

    topic: str


class TapRequest(Struct, tag_field="op", tag="tap", forbid_unknown_fields=True):
    """Ask for the raw frames of a topic, each beside the records that it became.

    The answer is a line for each frame, a [Tapped](#tapped), and then the last one, a [TapReply](#tapreply).

    topic: `channel:exchange:symbol`, or a pattern
    seconds: so long at most
    most: no more than so many frames
    """

    topic: str
    seconds: float = 10.0
    most: int = 1000


class ReloadRequest(Struct, tag_field="op", tag="reload", forbid_unknown_fields=True):
    """Read the configuration again, and apply what is different, as SIGHUP does.

    wait: answer when that is done, with what was done, or with all that is wrong; else at once
    """

    wait: bool = True


class PauseRequest(Struct, tag_field="op", tag="pause", forbid_unknown_fields=True):
    """End the connections of an exchange until it is resumed, or the daemon begins anew: each topic has a gap.

    exchange: its id
    """

    exchange: str


class ResumeRequest(Struct, tag_field="op", tag="resume", forbid_unknown_fields=True):
    """Go on with an exchange that is paused.

    exchange: its id
    """

    exchange: str


class SubscribeRequest(Struct, tag_field="op", tag="subscribe", forbid_unknown_fields=True):
    """Follow a topic whatever the configuration says, until it is unsubscribed, or the daemon begins anew.

    topic: `channel:exchange:symbol`, with `*` in the channel and the symbol if wanted
    """

    topic: str


class UnsubscribeRequest(Struct, tag_field="op", tag="unsubscribe", forbid_unknown_fields=True):
    """Do without a topic whatever the configuration says, until it is subscribed, or the daemon begins anew.

    topic: `channel:exchange:symbol`, with `*` in the channel and the symbol if wanted
    """

    topic: str


class MoveRequest(Struct, tag_field="op", tag="move", forbid_unknown_fields=True):
    """Have another worker gather an exchange: without a gap, and no record comes twice.

    The answer comes once that is done, which takes some seconds, and two minutes at most.

    exchange: its id, or the name of a part of it, where it is divided
    worker: the number of the worker that is to have it; null: the one with the least load
    """

    exchange: str
    worker: int | None = None


Request = (
    StatusRequest
    | StacksRequest
    | RotateRequest
    | ExplainRequest
    | TapRequest
    | ReloadRequest
    | PauseRequest
    | ResumeRequest
    | SubscribeRequest
    | UnsubscribeRequest
    | MoveRequest
)


# --- what is answered -------------------------------------------------------------------------------------------------


class StatusReply(Struct, frozen=True):
    """The answer to `status`.

    ok: true
    status: the whole daemon
    """

    status: DaemonStatus
    ok: bool = True


class StacksReply(Struct, frozen=True):
    """The answer to `stacks`.

    ok: true
    stacks: lines, one for each frame
    """

    stacks: list[str]
    ok: bool = True


class RotateReply(Struct, frozen=True):
    """The answer to `rotate`.

    ok: true
    sinks: sinks of files that were told
    captures: captures that were told
    """

    sinks: int
    captures: int
    ok: bool = True


class ExplainReply(Struct, frozen=True):
    """The answer to `explain`.

    ok: true
    topics: each topic, explained
    """

    topics: list[Explanation]
    ok: bool = True


class TapReply(Struct, frozen=True):
    """The last line of the answer to `tap`.

    ok: true
    frames: how many were told
    """

    frames: int
    ok: bool = True


class ReloadReply(Struct, frozen=True):
    """The answer to `reload`.

    ok: true
    is_done: whether it is done
    changes: what was different, one entry for each part; it names keys and no values
    """

    is_done: bool
    changes: list[str] = []
    ok: bool = True


class ChangeReply(Struct, frozen=True):
    """The answer to `pause`, `resume`, `subscribe` and `unsubscribe`.

    ok: true
    topics: of `pause` those that have a gap now; else those of the exchange that are followed now
    """

    topics: int = 0
    ok: bool = True


class MoveReply(Struct, frozen=True):
    """The answer to `move`.

    ok: true
    worker: the number of the worker that gathers it now
    """

    worker: int
    ok: bool = True


class Failure(Struct, frozen=True):
    """The answer to what cannot be done.

    ok: false
    error: why, and what can
    """

    error: str
    ok: bool = False


decode: Callable[[bytes], Request] = msgspec.json.Decoder(Request).decode
R = TypeVar("R")


def _good(answer: bytes, kind: type[R]) -> R:
    """The answer of a worker. Raises AggregatorError where it is that something cannot be done."""
    try:
        return msgspec.json.decode(answer, type=kind)
    except msgspec.MsgspecError:
        raise AggregatorError(msgspec.json.decode(answer, type=Failure).error) from None


class Answering:
    """Answering requests, whoever brings them."""

    def __init__(self, daemon: "Daemon") -> None:
        self._daemon = daemon
        self._gathering = asyncio.Lock()  # one after the other: a status of many topics is large

    async def answer(self, line: bytes) -> AsyncIterator[bytes]:
        """The answer to a line, in pieces."""
        try:
            request = decode(line)
            match request:
                case StatusRequest():
                    async for piece in self._status(request):
                        yield piece
                case StacksRequest():
                    yield encode(StacksReply(await self._stacks(line))) + b"\n"
                case ExplainRequest():
                    yield encode(ExplainReply(await self._explain(request, line))) + b"\n"
                case TapRequest():
                    async for piece in self._tap(request, line):
                        yield piece
                case RotateRequest() | MoveRequest():
                    yield encode(await self._act(request)) + b"\n"
                case _:
                    yield encode(await self._change(request)) + b"\n"
        except (AggregatorError, BadPattern, BadRequest, NothingToTap) as error:
            yield encode(Failure(str(error))) + b"\n"
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            yield encode(Failure(f"{error}; allowed: {OPERATIONS}")) + b"\n"

    async def _stacks(self, line: bytes) -> list[str]:
        found = list(stacks(asyncio.get_running_loop()))
        if (workers := self._daemon.workers) is not None:
            for number, answer in await workers.answered(line):
                with suppress(msgspec.MsgspecError):
                    found += [f"stacks: worker {number}", *msgspec.json.decode(answer, type=StacksReply).stacks]
        return found

    async def _explain(self, request: ExplainRequest, line: bytes) -> list[Explanation]:
        """Explain topics. Raises BadPattern, AggregatorError."""
        pattern = parse_pattern(request.topic)
        if (workers := self._daemon.workers) is not None and workers.having(pattern):
            found: list[Explanation] = []
            for number, answer in await workers.answered(line, workers.having(pattern)):
                topics = _good(answer, ExplainReply).topics
                found += [workers.placed(each, each.topic.split(":")[1], number) for each in topics]
            known = [each for each in found if each.state != "unknown"]
            if found:
                return (known or found[:1])[:MOST_EXPLAINED]
        async with self._gathering:
            return await explain(self._daemon, pattern, request.topic)

    async def _tap(self, request: TapRequest, line: bytes) -> AsyncIterator[bytes]:
        """Tell frames as they come. Raises BadPattern, NothingToTap."""
        pattern = parse_pattern(request.topic)
        if (workers := self._daemon.workers) is not None and workers.having(pattern):
            async with aclosing(workers.tapped(pattern, line, request.most)) as passed:
                count = 0
                async for piece in passed:
                    count += 1
                    yield piece
            yield encode(TapReply(count)) + b"\n"
            return
        count = 0
        async with aclosing(Tap(self._daemon, pattern).frames(request.seconds, request.most)) as told:
            async for tapped in told:
                count += 1
                yield encode(tapped) + b"\n"
        yield encode(TapReply(count)) + b"\n"

    async def _act(self, request: RotateRequest | MoveRequest) -> RotateReply | MoveReply:
        """Do what changes nothing of what is followed. Raises AggregatorError."""
        if isinstance(request, RotateRequest):
            return RotateReply(*self._daemon.reopen())
        return MoveReply(await self._daemon.changes.move(request.exchange, request.worker))

    async def _change(
        self, request: ReloadRequest | PauseRequest | ResumeRequest | SubscribeRequest | UnsubscribeRequest
    ) -> ReloadReply | ChangeReply:
        """Change what the daemon does. Raises AggregatorError, and then nothing has changed."""
        changes = self._daemon.changes
        match request:
            case ReloadRequest(wait=True):
                return ReloadReply(is_done=True, changes=await changes.reload())
            case ReloadRequest():
                changes.reload_soon()
                return ReloadReply(is_done=False)
            case PauseRequest(exchange=exchange):
                return ChangeReply(await changes.pause(exchange))
            case ResumeRequest(exchange=exchange):
                await changes.resume(exchange)
                return ChangeReply()
            case SubscribeRequest(topic=topic):
                return ChangeReply(await changes.say(topic, is_wanted=True))
            case UnsubscribeRequest(topic=topic):
                return ChangeReply(await changes.say(topic, is_wanted=False))

    async def _status(self, request: StatusRequest) -> AsyncIterator[bytes]:
        """Encode the status, a few topics at a time, so that the loop can turn. Raises BadRequest, BadPattern."""
        asked = asked_for(request.topics, is_troubled=request.only == "troubled", most=request.most)
        async with self._gathering:
            status = await gather(self._daemon, asked)
        yield b'{"status":'  # it is written as StatusReply, but for the pieces
        async for piece in in_pieces(status):
            yield piece
        yield b',"ok":true}\n'


class Control:
    """The control socket of one daemon."""

    def __init__(self, path: Path, daemon: "Daemon") -> None:
        """Listen at `path`; nobody is answered before `start`. Raises ConfigError where that cannot be."""
        self._listener = Listener(path, MODE, None, "control")
        self._answers = daemon.answers
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Answer whoever connects from now on."""
        self._server = await asyncio.start_unix_server(
            self._serve, sock=self._listener.socket, limit=LONGEST_LINE_BYTES
        )

    async def stop(self) -> None:
        """Hang up, and remove the socket's file."""
        if self._server is not None:
            self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._clients.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):  # `stop` cancels, and waits for this end alone
            writer.transport.abort()
        except Exception:
            log.exception("control: a client is hung up on, for an error of ours")
            writer.transport.abort()
        finally:
            self._clients.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer line by line. Raises OSError or TimeoutError where the client is gone, or as good as that."""
        if len(self._clients) > MOST_CLIENTS:
            await _send(writer, encode(Failure(f"there are {MOST_CLIENTS} clients already")) + b"\n")
            return
        try:
            while line := await _line(reader):
                async for piece in self._answers.answer(line):
                    await _send(writer, piece)
        except asyncio.LimitOverrunError:
            await _send(writer, encode(Failure(f"a line of more than {LONGEST_LINE_BYTES} bytes")) + b"\n")


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line; empty at the end.

    Raises TimeoutError where none comes in time, and LimitOverrunError where it is too long.
    """
    async with asyncio.timeout(IDLE_S):
        try:
            return await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            return error.partial


async def _send(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Send a piece of an answer. Raises TimeoutError where it is not read in time, OSError where nobody is there."""
    if writer.is_closing():  # uvloop would call that an error of ours
        raise ConnectionResetError
    writer.write(piece)
    async with asyncio.timeout(SENDING_S):
        await writer.drain()
