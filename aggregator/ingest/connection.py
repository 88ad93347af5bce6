"""One live connection: it feeds a session with frames and time, sends its outbox, and fetches what it wants."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice

from aggregator.bus.bus import Bus
from aggregator.errors import SessionError, in_short, is_of_the_machine
from aggregator.exchange import Address, Budget, Subscription
from aggregator.ingest.budget import Window
from aggregator.ingest.lines import Line
from aggregator.ingest.network import Network
from aggregator.ingest.rest import Need, Rest
from aggregator.ingest.status import ConnectionStatus
from aggregator.records import MS_NS, SECOND_NS, Record
from aggregator.session.arbiter import LineArbiter, LineScore
from aggregator.session.fetches import Fetch
from aggregator.session.moment import Now
from aggregator.session.session import UNWANTED, Session
from aggregator.session.subscriptions import Ask, Key
from aggregator.session.topics import TopicCheckpoint
from aggregator.session.trades import Notes
from aggregator.session.unreadable import EXPECTED

TICK_S = 1.0
MOST_LOOKED_AT = 100  # topics that one turn of the loop looks at, of whichever connection
NEEDS = {"snapshot": Need.SNAPSHOT, "backfill": Need.BACKFILL, "probe": Need.BACKFILL, "audit": Need.POLL}

MOST_NAMED = 10  # topics in one line of the log
MOST_REASONS = 5  # so many refusals, or words that mean nothing to us, are named at one look
AFTERWARDS = {
    "final": "they are asked for again only after the next listing",
    "passing": "they are asked for again soon",
    "unknown": "they are asked for again, ever more rarely",
}

log = logging.getLogger("aggregator.runner")


class Connection:
    """One connection from dialling to its end: the `Listener` that feeds a session."""

    def __init__(
        self,
        session: Session,
        *,
        bus: Bus,
        arbiter: LineArbiter,
        network: Network,
        rest: Rest,
        requests: Budget | None = None,
        notes: Notes | None = None,
    ) -> None:
        """Join a session to the bus; `run` gives it the line.

        arbiter: decides which records are published if other connections carry the same topics
        requests: how often the exchange may be asked for topics on this connection
        notes: for the run after a process that is killed: whether a read is being taken in
        """
        self.session = session
        self.close_reason: str | None = None  # the reason of the end, once it has ended
        self.error: SessionError | None = None  # the error if no connection could be made
        self.since = network.now().mono
        self._bus = bus
        self._noted = notes.view if notes is not None else None
        self._arbiter = arbiter
        self._network = network
        self._now = network.now
        self._rest = rest
        self._unread = 0  # how many frames could not be read, at the last look
        self._woken = asyncio.Event()  # there is something to fetch, or it is over
        self._line: Line | None = None
        self._early: list[tuple[bytes, Now]] | None = None  # frames that came together with the handshake's answer
        self._limit = requests
        self._requests = None if requests is None else Window(requests)
        self._held: deque[Ask] = deque()  # requests for topics that must wait for the exchange's limit
        self._next_send = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._fetching: set[asyncio.Task[None]] = set()

    async def run(self, address: Callable[[], Awaitable[Address]]) -> str:
        """Converse until the connection ends. Gives the reason of the end."""
        early: list[tuple[bytes, Now]] = []
        self._early = early
        try:
            self._line = await self._network.dial(await address(), self)
            self.since = self._now().mono
            self._publish(self.session.open(self._now()))
            # To make many topics takes milliseconds: others have their turn before their requests are sent.
            await asyncio.sleep(0)
            self._early = None
            for payload, now in early:
                self._bus.publish(self._arbiter.merge(self.session, self.session.receive((payload,), now), now))
            self._send()
            while self.close_reason is None:
                await self._sleep()
                if self.close_reason is None:
                    await self._tick()
                self._say()
        except SessionError as error:
            self.gone(str(error))
            self.error = error
        except Exception as error:
            if is_of_the_machine(error):
                self.gone(in_short(error))
                log.error("%s: %s", self.session.conn, in_short(error))  # noqa: TRY400 - no fault of ours
            else:
                self.gone("an error of our own")
                log.exception("%s: an error of our own", self.session.conn)
        finally:
            self.gone(UNWANTED)
            self._stop()
        return self.close_reason or ""

    async def _sleep(self) -> None:
        """Wait until there is something to fetch, it is over, or a tick is due."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TICK_S):
                await self._woken.wait()
        self._woken.clear()

    @property
    def name(self) -> str:
        """The name of the line, for logs and captures: that of the session's connection."""
        return self.session.conn

    def frames(self, payloads: list[bytes], now: Now) -> None:
        """Read the frames of one read of the socket, and publish what they give."""
        session, arbiter = self.session, self._arbiter
        if self.close_reason is not None:
            return  # the line was given up
        if self._early is not None:
            self._early += [(payload, now) for payload in payloads]  # the session is not open yet
            return
        if self._noted is not None:
            self._noted[0] = -now.wall  # until the records are published, or there are none
        if arbiter.is_merging:  # frame by frame, because a record is compared with its line's state just after it
            records = [r for payload in payloads for r in arbiter.merge(session, session.receive((payload,), now), now)]
        else:
            records = session.receive(payloads, now)
        self._bus.publish(records)
        if self._noted is not None and not records:
            self._noted[0] = now.wall
        if session.outbox:
            self._send()
        if session.close_reason is not None:
            self.gone(session.close_reason)
        elif session.wanted:
            self._woken.set()

    @property
    def is_open(self) -> bool:
        """Tell whether the connection stands."""
        return self._line is not None and self.close_reason is None

    def status(self, score: LineScore) -> ConnectionStatus:
        """How this connection fares; `score` is its score against others that carry the same."""
        return ConnectionStatus(
            conn=self.session.conn,
            is_open=self.is_open,
            age_s=round((self._now().mono - self.since) / SECOND_NS, 1),
            held=len(self._held),
            fetching=len(self._fetching),
            first=score.wins,
            second=score.losses,
            behind_ms=round(score.behind / MS_NS, 3),
            session=self.session.status(),
        )

    def subscribe(self, topics: Collection[Subscription], carried: Mapping[Key, TopicCheckpoint]) -> list[Record]:
        """Carry more topics. Gives the records that tell of it."""
        records = self.session.subscribe(topics, self._now(), carried)
        self._send()
        return records

    def unsubscribe(self, topics: Collection[Subscription], reason: str) -> list[Record]:
        """Carry topics no more. Gives the records that tell of it."""
        records = self.session.unsubscribe(topics, self._now(), reason)
        self._send()
        return records

    def gone(self, reason: str) -> None:
        """Note that the connection has ended or is given up."""
        self.close_reason = self.close_reason or reason
        self._woken.set()

    def _publish(self, records: list[Record]) -> None:
        self._bus.publish(self._arbiter.merge(self.session, records, self._now()))

    async def _tick(self) -> None:
        """Let the session do what is due by time, a part of it in each turn of the loop, where that is much."""
        turn, loop = self._bus.turn, asyncio.get_running_loop()
        await turn.acquire()
        try:
            self._publish(self.session.tick(self._now(), MOST_LOOKED_AT))
            while self.session.is_looking and self.close_reason is None:
                await asyncio.sleep(0)
                self._publish(self.session.tick(self._now(), MOST_LOOKED_AT))
        finally:
            loop.call_soon(turn.release)
        if self.session.close_reason is not None:
            self.gone(self.session.close_reason)
        self._send()
        while self.session.wanted:
            task = asyncio.create_task(self._fetch(self.session.wanted.popleft()))
            self._fetching.add(task)
            task.add_done_callback(self._fetching.discard)

    def _say(self) -> None:
        """Log what the session has noted."""
        self._look_at_bad_frames()
        self.look_at_refusals()
        words = self.session.words.news
        for said in words[:MOST_REASONS]:  # the others in later looks
            log.warning("%s: %s", self.session.conn, said)
        del words[:MOST_REASONS]

    async def _fetch(self, wanted: Fetch) -> None:
        try:
            body = await self._rest.fetch(wanted.request, NEEDS[wanted.purpose])
        except SessionError as error:
            if not error.is_busy:  # a busy host is logged once, for all its requests
                log.warning("%s: no %s of %s: %s", self.session.conn, wanted.purpose, wanted.raw_symbol, error)
            self.session.unanswered(wanted)
            return
        self._publish(self.session.answer(wanted, body, self._now()))

    def _look_at_bad_frames(self) -> None:
        """Log the first of the frames that could not be read since the last look, and how many there were."""
        seen = list(self.session.bad_frames)
        self.session.bad_frames.clear()
        count, self._unread = self.session.bad - self._unread, self.session.bad
        if not seen:
            return
        bad = seen[0]
        is_ours = not isinstance(bad.error, EXPECTED)
        more = f" (and {count - 1} more)" if count > 1 else ""
        said = f"{type(bad.error).__name__}: {bad.error}"
        log.error(
            "%s: a frame that cannot be read%s: %s: %.300r",
            self.session.conn,
            more,
            said,
            bad.frame,
            exc_info=bad.error if is_ours else None,
        )

    def look_at_refusals(self) -> None:
        """Log what the exchange has refused, each reason once with its topics."""
        by_reason: dict[tuple[str, str], list[str]] = {}
        while self.session.refusals:
            refused = self.session.refusals.popleft()
            topic = f"{' '.join(filter(None, (refused.interval, refused.channel)))} of {refused.raw_symbol}"
            by_reason.setdefault((refused.reason, refused.meaning), []).append(topic)
        for (reason, meaning), topics in islice(by_reason.items(), MOST_REASONS):
            more = f" and {len(topics) - MOST_NAMED} more" if len(topics) > MOST_NAMED else ""
            named = ", ".join(topics[:MOST_NAMED])
            is_costly = self.session.stream.hangs_up and meaning == "final"
            afterwards = AFTERWARDS["unknown" if is_costly else meaning]
            log.warning("%s: refused: %s%s: %.200r; %s", self.session.conn, named, more, reason, afterwards)
        if len(by_reason) > MOST_REASONS:
            left_out = sum(map(len, islice(by_reason.values(), MOST_REASONS, None)))
            log.warning("%s: refused for other reasons: %d more", self.session.conn, left_out)

    def _send(self) -> None:
        """Send the outbox, no faster than the stream's pace, and topics no more often than may be asked."""
        loop = asyncio.get_running_loop()
        while self._line is not None and self._timer is None:
            wait = self._next_send - loop.time()
            if wait > 0 and (self.session.outbox or self._held):
                self._timer = loop.call_later(wait, self._resume)
                return
            frame = self._next_frame()
            if frame is None:
                return  # each tick looks at the held requests again
            self._next_send = loop.time() + self.session.stream.pace
            self._line.send(frame)
            self.session.sent(frame, self._now())

    def _next_frame(self) -> bytes | None:
        """The next frame that may be sent now: answers and heartbeats do not wait behind requests that must."""
        outbox, window, now = self.session.outbox, self._requests, self._now().mono
        if window is None:
            return outbox.popleft() if outbox else None
        if self._held and window.wait(self._held[0].ahead, now) <= 0:
            window.spend(1, now)
            return self._held.popleft()
        while outbox:
            frame = outbox.popleft()
            if not isinstance(frame, Ask):
                return frame
            if not self._held and window.wait(frame.ahead, now) <= 0:
                window.spend(1, now)
                return frame
            self._held.append(frame)
            if len(self._held) == 1:
                log.info("%s: what is asked for waits: %s", self.session.conn, self._why_held())
        return None

    def why_unsent(self, topic: Key) -> str | None:
        """The reason why a topic is still to be asked for; None if it has been, or nothing keeps it back."""
        is_held = bool(self._held) and self.session.subscriptions.is_unsent(topic)
        return self._why_held() if is_held else None

    def _why_held(self) -> str:
        now, window, limit = self._now(), self._requests, self._limit
        if window is None or limit is None:
            return ""
        free = datetime.fromtimestamp((now.wall + window.wait(self._held[0].ahead, now.mono)) / SECOND_NS, UTC)
        return f"it waits for the limit of {limit[0]} requests in {limit[1]:g} s until {free:%H:%M:%S} UTC"

    def _resume(self) -> None:
        self._timer = None
        self._send()

    def _stop(self) -> None:
        """Hang up, and end timers and fetches."""
        for task in self._fetching:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._line is not None:
            self._line.hang_up(self.close_reason or "")
            self._line = None  # it knows this connection, whose books would stay until the collector looks for such
