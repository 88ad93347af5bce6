"""Why a topic is live or is not: what was asked for, what became of it, and what to do, step by step and in words."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from aggregator.bus.selection import Pattern, Selection
from aggregator.config.config import ExchangeConfig
from aggregator.daemon.status import FINE, StatusQuery, gather
from aggregator.ingest.connection import Connection
from aggregator.ingest.drift import DriftFinding
from aggregator.ingest.listing import life, suggest
from aggregator.ingest.status import PollStatus, ShardStatus
from aggregator.ingest.symbols import matches
from aggregator.records import SECOND_NS, Channel, Instrument
from aggregator.session.moment import NEVER_NS
from aggregator.session.status import TopicStatus

if TYPE_CHECKING:
    from aggregator.daemon.daemon import Daemon

MOST_EXPLAINED = 10  # topics in one answer
MOST_DRIFT = 6  # differences that are told of a topic: those of its own channel first

DOCTOR = "ask `aggregator doctor` whether this machine reaches the exchange"


class Explanation(Struct, frozen=True):
    """One topic, explained.

    topic: `channel:exchange:symbol`
    state: as in `health`, `absent`, or `unknown`: nobody asks for it
    steps: what is known of it, in order
    advice: what to do
    """

    topic: str
    state: str
    steps: list[str]
    advice: list[str]


async def explain(daemon: "Daemon", pattern: Pattern, text: str) -> list[Explanation]:
    """Explain the topics that a pattern means, as many as are told; one that nobody asks for is explained too."""
    status = await gather(daemon, StatusQuery(Selection([pattern]), most=MOST_EXPLAINED))
    if status.topics:
        there = daemon.exchanges.configs  # one may have gone while the status was gathered
        told = (
            Explaining(daemon, topic).told() if topic.exchange in there else _passed_on(daemon, topic)
            for topic in status.topics
        )
        return [each for each in told if each is not None]
    return [_unknown(daemon, pattern, text)]


def _passed_on(daemon: "Daemon", topic: TopicStatus) -> Explanation | None:
    """How a topic fares that comes by a source; null: it comes by none any more."""
    source = daemon.sources.bringing(topic.exchange, topic.channel, topic.raw_symbol)
    if source is None:
        return None
    since = "nothing yet" if topic.age_ms is None else f"the last record {topic.age_ms / 1000:.1f} s ago"
    steps = [
        f"it comes by the source {source.name}, from the daemon {source.daemon or 'there'}: {since}",
        f"that source is {source.state}{f': {source.trouble}' if source.trouble and source.state != 'live' else ''}",
        f"now it is {topic.state}{f': {topic.reason}' if topic.reason else ''}",
    ]
    if topic.gap is not None:
        steps.append(f"a gap is open: {topic.gap}")
    if topic.state in FINE:
        advice = "nothing: data flow"
    elif source.state == "live":
        advice = "`aggregator explain` it at the daemon that gathers it"
    else:
        advice = "see to the link, and to the daemon there"
    name = f"{topic.channel}:{topic.exchange}:{topic.symbol or topic.raw_symbol or '*'}"
    return Explanation(name, topic.state, steps, [advice])


def _unknown(daemon: "Daemon", pattern: Pattern, text: str) -> Explanation:
    """Why nobody asks for a topic."""
    configs = daemon.exchanges.configs
    config = configs.get(pattern.exchange)
    if config is None:
        return Explanation(
            text,
            "unknown",
            [
                f"no exchange {pattern.exchange!a} is configured; there are: {', '.join(configs) or 'none'}",
                *(f"the source {source.name} has not brought it" for source in daemon.sources.status()),
            ],
            ["add it to the configuration, as [[exchanges]]; `aggregator exchanges` names all that are known"],
        )
    steps, advice = list(_of_exchange(daemon, config)), []
    channels = [channel for channel in pattern.channels if channel in config.channels]
    markets = daemon.exchanges.followed[config.id].markets.instruments if config.id in daemon.exchanges.followed else []
    if not channels:
        steps.append(
            f"{', '.join(pattern.channels)} is not among the channels that are asked for: {', '.join(config.channels)}"
        )
        advice.append(f"add it to `channels` of {config.id}")
    elif config.id not in daemon.exchanges.runners:
        advice.append(f"nothing is known of its markets until its listing is read; {DOCTOR}")
    else:
        found = [each for each in markets if pattern.symbol in {each.symbol, each.raw_symbol}]
        if found and not any(matches(wanted, found[0]) for wanted in config.symbols):
            steps.append(f"it is listed as {found[0].raw_symbol}, and no symbol of the configuration names it")
            advice.append(f"add {pattern.symbol!a} to `symbols` of {config.id}")
        elif found:
            steps.append(f"it is listed as {found[0].raw_symbol}, and nobody asks for it now")
            advice.append("subscribe to it: this exchange is followed on demand")
        else:
            meant = suggest(pattern.symbol, markets)
            steps.append(f"none of the {len(markets)} markets that are listed has that name")
            advice.append(f"did you mean {meant}?" if meant else f"`aggregator symbols {config.id}` names them")
    return Explanation(text, "unknown", steps, advice)


def _of_exchange(daemon: "Daemon", config: ExchangeConfig) -> Iterator[str]:
    """How the exchange of a topic fares."""
    asked = ", ".join(config.symbols)
    yield f"configured: {', '.join(config.channels)} of {asked}{', on demand' if config.on_demand else ''}"
    trouble, followed = daemon.exchanges.troubles.get(config.id), daemon.exchanges.followed.get(config.id)
    if config.id in daemon.exchanges.paused:
        yield f"an operator has paused the exchange: `aggregator ctl resume {config.id}` has it go on"
        return
    if followed is None or config.id not in daemon.exchanges.runners:
        yield f"the exchange does not run yet: {trouble or 'its listing is being asked for'}"
        return
    listing = followed.markets.status()
    yield f"its listing was read at {_clock(listing.ts)}: {listing.instruments} markets in force"


class Explaining:
    """One topic that is wanted."""

    def __init__(self, daemon: "Daemon", topic: TopicStatus) -> None:
        self._daemon = daemon
        self._topic = topic
        self._key: tuple[Channel, str | None] = (topic.channel, topic.raw_symbol)
        self._advice: list[str] = []
        self._now = time.time_ns()

    def told(self) -> Explanation:
        """All of it."""
        topic = self._topic
        config = self._daemon.exchanges.configs[topic.exchange]
        steps = [*_of_exchange(self._daemon, config), *self._market(), *self._carried(), *self._data(), *self._past()]
        drift = list(self._drift())
        name = f"{topic.channel}:{topic.exchange}:{topic.symbol or topic.raw_symbol or '*'}"
        self._advise(drift)
        return Explanation(name, topic.state, [*steps, *drift], self._advice)

    def _market(self) -> Iterator[str]:
        """The market that is meant."""
        topic, instrument = self._topic, self._instrument()
        if instrument is None:
            yield f"resolved to {topic.raw_symbol or 'the whole exchange'}, of which the listing says nothing"
            return
        yield f"resolved to {topic.raw_symbol}: {instrument.kind}, {life(instrument, self._now)} ({instrument.state})"
        if instrument.state != "trading":
            self._advice.append(f"wait: the exchange says that this market is {instrument.state}")

    def _instrument(self) -> Instrument | None:
        followed = self._daemon.exchanges.followed.get(self._topic.exchange)
        if followed is None or self._topic.raw_symbol is None:
            return None
        markets = followed.markets.instruments
        return next((each for each in markets if each.raw_symbol == self._topic.raw_symbol), None)

    def _carried(self) -> Iterator[str]:
        """The connection that carries it, and how it was asked for there."""
        topic, connection = self._topic, self._connection()
        if topic.demand is not None:
            yield f"on demand: it is {topic.demand}"
        if topic.state == "absent":
            yield f"nothing carries it: {topic.reason}"
            return
        poll = next((each for each in self._polls() if topic.conn == f"{each.name}#1"), None)
        if poll is not None:
            yield f"asked for by REST every {poll.every_s:g} s ({poll.name}); {poll.session.frames} answers have come"
            return
        if connection is None:
            yield f"no connection carries it: {topic.reason or 'one is being made'}"
            yield from (f"{each.name}: the last connection ended: {each.trouble}" for each in self._broken())
            return
        session = connection.session
        status = session.status()
        yield (
            f"on {session.conn}, which {'has stood' if connection.is_open else 'has been made'} for "
            f"{(session.moment.mono - connection.since) / SECOND_NS:.0f} s: {status.frames} frames, "
            f"{status.unread} of them unread"
        )
        yield self._asked(connection)

    def _asked(self, connection: Connection) -> str:
        """How it was asked for on its connection."""
        session = connection.session
        found = session.topics.get(*self._key)
        why = (
            None
            if self._topic.raw_symbol is None
            else connection.why_unsent((self._topic.channel, self._topic.raw_symbol))
        )
        if why:
            return f"not asked for yet: {why}"
        if session.subscriptions.is_unsent(self._key):
            return "not asked for yet: its request waits for its turn"
        if found is None or not 0 < found.subscribed < NEVER_NS:
            return "not asked for yet"
        ago = max(0, session.moment.mono - found.subscribed) / SECOND_NS
        if session.subscriptions.is_confirmed(self._key):
            word = "acknowledged" if session.stream.acknowledges else "acknowledged by data: the exchange says no more"
        else:
            refusal = session.subscriptions.refusal(self._key)
            word = f"refused: {refusal.reason}" if refusal is not None else "no answer yet"
        return f"subscribed {ago:.0f} s ago: {word}"

    def _data(self) -> Iterator[str]:
        """All that has come of it."""
        topic = self._topic
        if topic.age_ms is None:
            yield "no record of it has come on this connection"
        else:
            duplicates = f", {topic.duplicates} that had come before" if topic.duplicates else ""
            yield f"{topic.records} records{duplicates}, the last {topic.age_ms / 1000:.1f} s ago"
        if topic.withheld:
            yield f"{topic.withheld} changes of the book are held back until it is whole"
        if topic.gap is not None:
            yield f"a gap is open since {_clock(topic.gap_since or 0)}: {topic.gap}"
        if topic.asked_again:
            yield f"asked for again {topic.asked_again} times since it was last live"

    def _past(self) -> Iterator[str]:
        """The latest events: gaps, and each step of the ladder with what the exchange answered."""
        topic = self._topic
        for event in self._daemon.attention.tally.events(topic.channel, topic.exchange, topic.raw_symbol):
            yield f"{_clock(event.ts)} {event.conn}: {event.words}"
        since = f" since {_clock(topic.since)}" if topic.since else ""
        yield f"now it is {topic.state}{since}{f': {topic.reason}' if topic.reason else ''}"

    def _drift(self) -> Iterator[str]:
        """Differences in what the exchange sends that may be about it."""
        status = self._daemon.attention.status(self._topic.exchange)
        findings = [] if status is None else [each for each in status.findings if self._concerns(each)]
        findings.sort(key=lambda found: self._topic.channel not in found.channels)
        for found in findings[:MOST_DRIFT]:
            yield f"since {_clock(found.since)} {found.words}; the first: {found.example[:200]}"

    def _concerns(self, found: DriftFinding) -> bool:
        return not found.channels or self._topic.channel in found.channels

    def _advise(self, drift: list[str]) -> None:
        """Say what to do, also where there is nothing to be done."""
        topic = self._topic
        if drift:
            self._advice.append(
                "its frames are not as they were: `aggregator tap` shows them; look for a newer version of this program"
            )
        if topic.state in FINE:
            word = "data flow" if topic.state == "live" else "the market is quiet, and the exchange says so"
            self._advice.append(f"nothing: {word}")
        elif topic.state == "absent":
            self._advice.append(f"`aggregator exchanges {topic.exchange}` says which channels it has, and for what")
        elif (topic.reason or "").startswith("refused"):
            self._advice.append(
                "compare the exchange's words with `symbols` and `channels`; it is asked for again later"
            )
        elif self._connection() is None or not self._is_connected():
            self._advice.append(f"wait for the next attempt; {DOCTOR}")
        elif not drift and topic.state in {"stalled", "suspect", "syncing", "subscribing"}:
            self._advice.append(
                "wait: it is asked for again, and then on a new connection; a gap tells what is missing"
            )

    def _is_connected(self) -> bool:
        connection = self._connection()
        return connection is not None and connection.is_open

    def _connection(self) -> Connection | None:
        ear = self._daemon.attention.ears.get(self._topic.exchange)
        found = [] if ear is None else [each for each in ear.connections() if each.session.topics.get(*self._key)]
        return next((each for each in found if each.session.conn == self._topic.conn), found[0] if found else None)

    def _polls(self) -> Iterator[PollStatus]:
        runner = self._daemon.exchanges.runners.get(self._topic.exchange)
        return (each.status() for each in (runner.pollers if runner is not None else ()))

    def _broken(self) -> Iterator[ShardStatus]:
        runner = self._daemon.exchanges.runners.get(self._topic.exchange)
        found = (each.status() for each in (runner.shards if runner is not None else ()))
        return (each for each in found if each.trouble and not any(line.is_open for line in each.connections))


def _clock(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns / SECOND_NS, UTC):%H:%M:%S}"
