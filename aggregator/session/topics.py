"""One topic's state: what was last heard of it, its rhythm, and whether a gap is open."""

from decimal import Context, Decimal

from msgspec import Struct, structs

from aggregator.records import (
    MS_NS,
    SECOND_NS,
    Candle,
    Cause,
    Channel,
    Flag,
    Flags,
    Funding,
    Gap,
    Health,
    Instrument,
    Liquidation,
    MarketState,
    OpenInterest,
    Record,
    Repair,
    SizeUnit,
    Status,
    Ticker,
    TopicState,
    Trade,
)
from aggregator.session.arbitrated import Position
from aggregator.session.moment import NEVER_NS, Now
from aggregator.session.rhythm import CEILING_NS, FLOOR_NS, Pulse
from aggregator.session.states import Happening, after

UNHEARD = Pulse()  # the rhythm of every topic of which nothing has come yet
LONGEST_WORD = 200  # characters
MOST_WORDS = 1000  # so many are told apart
EXACT = Context(prec=200)  # enough for any two numbers that an exchange sends


class Origin(Struct):
    """The exchange and the connection that a topic's records are stamped with.

    changes: how often the state or the gap of one of its topics has changed
    touched: topics to which something has happened that time alone may follow upon; null: nobody looks at them
    """

    exchange: str
    conn: str
    changes: int = 0
    touched: "dict[Topic, None] | None" = None

    def touch(self, topic: "Topic") -> None:
        """Have a topic looked at soon."""
        if self.touched is not None:
            self.touched[topic] = None


class TopicCheckpoint(Struct, omit_defaults=True):
    """The checkpoint of a topic: one connection leaves it to the next, and one run to the next.

    gap: the gap that is open
    last: the last number that the topic knew
    newest: the exchange's time of that number
    asked: how often the topic was asked for again in vain
    holes: ranges of numbers that are still missing; `missed` counts all that ever were, `recovered` those had after all
    is_unsure: whether more may be missing than is known: the program was killed while the gap was open
    is_rested: whether nobody wanted the topic since `last`: numbers that were passed over meanwhile are not missing
    """

    gap: Gap | None = None
    last: int | None = None
    newest: int = 0
    asked: int = 0
    holes: tuple[tuple[int, int], ...] = ()
    missed: int = 0
    recovered: int = 0
    is_unsure: bool = False
    is_rested: bool = False


def rested(left: TopicCheckpoint) -> TopicCheckpoint:
    """The checkpoint of a topic that nobody wants for a while: what is known of it, and nothing that is missing."""
    return TopicCheckpoint(last=left.last, newest=left.newest, is_rested=True)


class Standing(Struct, frozen=True):
    """How a topic stands while the program runs: the checkpoint that it would leave, and whether it is followed."""

    key: tuple[Channel, str | None]
    carried: TopicCheckpoint
    symbol: str | None
    is_followed: bool


def closed(gap: Gap, conn: str | None, now: Now, repair: Repair = "none") -> Gap:
    """The record that ends an open gap without anything recovered; a clock that was set back ends none too early."""
    ts_to = max(now.wall, gap.ts_from)
    return structs.replace(
        gap, phase="close", ts_recv=now.wall, ts_to=ts_to, conn=conn, repair=repair, recovered=0, offset=0
    )


def with_flag(record: Record, flag: Flag) -> None:
    """Add a flag to a record."""
    flags: Flags = record.flags or ()
    if flag not in flags:
        record.flags = (*flags, flag)


def unread(place: Origin, number: int, raw_symbol: str | None, now: Now) -> Gap:
    """The gap that stands for a frame or an answer that cannot be read."""
    return Gap(
        exchange=place.exchange,
        symbol=None,
        raw_symbol=raw_symbol,
        ts_recv=now.wall,
        conn=place.conn,
        source="derived",
        gap_id=f"{place.conn}:*:{raw_symbol or '*'}:{number}",
        phase="close",
        cause="parse_error",
        ts_from=now.wall,
        ts_to=now.wall,
        repair="none",
    )


class Topic:
    """A topic of no numbering: every record passes, and the first one ends a gap."""

    __slots__ = (
        "_latest",
        "_newest",
        "asked",
        "channel",
        "closed",
        "count",
        "due",
        "duplicates",
        "gap",
        "heard",
        "instrument",
        "last",
        "looked_at",
        "number",
        "opened",
        "place",
        "pulse",
        "raw_symbol",
        "reason",
        "retries",
        "retry_at",
        "since",
        "state",
        "subscribed",
        "symbol",
    )

    def __init__(
        self,
        channel: Channel,
        raw_symbol: str | None,
        instrument: Instrument | None,
        place: Origin,
        carried: TopicCheckpoint,
    ) -> None:
        self.channel: Channel = channel
        self.raw_symbol = raw_symbol
        self.instrument = instrument
        self.symbol = instrument.symbol if instrument else None
        self.place = place
        self.gap = carried.gap
        self.last = carried.last
        self.state: TopicState = "subscribing"
        self.reason: str | None = ""  # the reason of this state; empty: the state was not told yet
        self.since = 0  # wall: when this state began; 0: the state was not told yet
        self.subscribed = 0  # mono
        self.heard = 0  # mono; 0: never
        self.count = 0
        self.duplicates = 0
        self.pulse = UNHEARD
        self.asked = carried.asked  # how often it was asked for again since it was last live
        self.retries = 0
        self.retry_at = 0  # mono: when something is tried again, while it is silent
        self.number = 0  # its place among the topics of its connection; below 0: it was removed
        self.looked_at = 0  # `heard` as it was when the topic was looked at
        self.due = NEVER_NS  # mono: when it is to be looked at, where nothing happens before
        self._latest = 0  # the latest time of the exchange that a trade or liquidation without a number has told
        self._newest = carried.newest  # the exchange's time of the last record that was numbered as next
        self.opened = 0  # gaps, on this connection
        self.closed = 0

    @property
    def exchange(self) -> str:
        """The id that its records are stamped with."""
        return self.place.exchange

    @property
    def conn(self) -> str:
        """The connection that its records are stamped with."""
        return self.place.conn

    @property
    def stands(self) -> bool:
        """Tell whether the topic is live as soon as a record comes."""
        return True

    @property
    def has_skipped(self) -> bool:
        """Tell whether something is missing that this very connection should have brought."""
        return False

    def accept(self, record: Record, out: list[Record], now: Now) -> None:
        """Check a stamped record and put what may be published into `out`."""
        self.count += 1
        out.append(record)
        if self.gap is not None:
            self.close_gap(out, now, "none")

    def become(self, happening: Happening, reason: str | None, now: Now) -> bool:
        """Change the state, and its reason, as the table of states says; whether either has changed."""
        state = after(self.state, happening)
        if state is None or (state, reason) == (self.state, self.reason):
            return False
        if state != self.state or not self.since:
            self.since = now.wall
        self.state, self.reason = state, reason
        self.place.changes += 1
        self.place.touch(self)
        return True

    def tick(self, out: list[Record], now: Now) -> None:
        """Do what is due by time alone."""

    def learn(self) -> None:
        """Learn the rhythm of what has come."""
        if not self.count:
            return
        if self.pulse is UNHEARD:
            self.pulse = Pulse()
        self.pulse.learn(self.count, self.heard)

    def is_due(self, now: Now) -> bool:
        """Tell whether something is to be tried again for a silent topic."""
        return now.mono >= self.retry_at

    def retry(self, now: Now) -> None:
        """Note that something is tried now; the next try comes after twice as long."""
        self.retries += 1
        self.retry_at = now.mono + min(FLOOR_NS << min(self.retries - 1, 10), CEILING_NS)

    def lose(self, cause: Cause, out: list[Record], now: Now) -> None:
        """The topic can no longer be trusted: open a gap, unless one is open."""
        self.open_gap(cause, out, now)

    def carried(self) -> TopicCheckpoint:
        """The checkpoint with which the next connection's topic begins."""
        return TopicCheckpoint(self.gap, self.last, self._newest, self.asked)

    def position(self) -> Position:
        """How far it is, for who compares it with the same topic of another connection."""
        return Position(self.channel, self.raw_symbol, self.last, self.gap, max(self._newest, self._latest))

    def open_gap(
        self,
        cause: Cause,
        out: list[Record],
        now: Now,
        *,
        expected: int | None = None,
        got: int | None = None,
        missed: int | None = None,
    ) -> None:
        """Publish that something is missing from here on, unless a gap is open already; the topic becomes suspect."""
        if self.gap is not None:
            return
        self.opened += 1
        self.become("lost", cause, now)
        self.gap = Gap(
            gap_id=f"{self.conn}:{self.channel}:{self.raw_symbol or '*'}:{self.opened}",
            phase="open",
            channel=self.channel,
            cause=cause,
            ts_from=now.wall,
            expected=expected,
            got=got,
            missed=missed,
        )
        out.append(self._stamped(self.gap, now))

    def close_gap(
        self, out: list[Record], now: Now, repair: Repair, *, missed: int | None = None, recovered: int = 0
    ) -> None:
        """Publish that the open gap has ended; the topic becomes live."""
        gap = self.gap
        if gap is None:
            return
        self.gap = None
        self.closed += 1
        self.become("whole", None, now)
        end = Gap(
            gap_id=gap.gap_id,
            phase="close",
            channel=self.channel,
            cause=gap.cause,
            ts_from=gap.ts_from,
            ts_to=max(now.wall, gap.ts_from),
            expected=gap.expected,
            got=gap.got,
            missed=gap.missed if missed is None else missed,
            repair=repair,
            recovered=recovered,
        )
        out.append(self._stamped(end, now))

    def _stamped(self, gap: Gap, now: Now) -> Gap:
        gap.exchange, gap.symbol, gap.raw_symbol = self.exchange, self.symbol, self.raw_symbol
        gap.ts_recv, gap.conn, gap.source = now.wall, self.conn, "derived"
        return gap


# What an exchange says that changes nothing here: `Words` counts it under one of these headings, which the log shows.
STRANGE = "a state that is not known, and is told as such"
NOTHING = "what is sent means nothing"
STRAY = "a refusal that cannot be tied to one topic"  # it names none, or one that is not being asked for


class Words(Struct):
    """Words of an exchange that change nothing here. Each is counted, and stands in the log once.

    told: heading and word -> how often it came
    news: those that the log does not have yet
    """

    told: dict[str, int] = {}
    news: list[str] = []

    def tell(self, what: str, word: str) -> None:
        """Count a word."""
        said = f"{what}: {word[:LONGEST_WORD]!r}"
        if said not in self.told and len(self.told) >= MOST_WORDS:
            said = f"{what}: others"
        if said not in self.told:
            self.news.append(said)
        self.told[said] = self.told.get(said, 0) + 1


class Stated(Topic):
    """A topic of states: each is told when it changes, however often the exchange repeats it.

    A word that is not known is told as `unknown`, counted, and named once.
    """

    __slots__ = ("_told", "_words")

    def __init__(
        self,
        raw_symbol: str | None,
        instrument: Instrument | None,
        place: Origin,
        carried: TopicCheckpoint,
        words: Words,
    ) -> None:
        super().__init__("status", raw_symbol, instrument, place, carried)
        self._words = words
        self._told: tuple[MarketState, str | None] | None = None

    def accept(self, record: Status, out: list[Record], now: Now) -> None:  # type: ignore[override]
        """Pass a state that differs from the one told last; after a gap it is told anew."""
        if record.state == "unknown" and record.reason is not None:
            self._words.tell(STRANGE, record.reason)
        if self._told == (record.state, record.reason) and self.gap is None:
            self.duplicates += 1
            return
        self._told = record.state, record.reason
        super().accept(record, out, now)


def happen(topic: Topic, happening: Happening, out: list[Record], now: Now, reason: str | None = None) -> None:
    """Let something happen to a topic, and publish what it changes; nothing is published if nothing changes."""
    if topic.become(happening, reason, now):
        out.append(health(topic, now))


def health(topic: Topic, now: Now, reason: str | None = None) -> Health:
    """A topic's state as a record; a `reason` given here takes the place of the state's own."""
    return Health(
        exchange=topic.exchange,
        symbol=topic.symbol,
        raw_symbol=topic.raw_symbol,
        ts_recv=now.wall,
        conn=topic.conn,
        source="derived",
        channel=topic.channel,
        state=topic.state,
        age_ms=(now.mono - topic.heard) // MS_NS if topic.heard else None,
        rate=topic.pulse.rate,
        reason=reason or topic.reason or None,
    )


class Rates(Topic):
    """A topic of funding. A settled rate is told once, however often the exchange repeats it."""

    __slots__ = ()

    def accept(self, record: Funding, out: list[Record], now: Now) -> None:  # type: ignore[override]
        """Pass a rate. If it does not say how often funding is exchanged, the instrument's listing does."""
        if record.kind == "settled" and record.ts_next is not None:
            if record.ts_next <= self._newest:
                self.duplicates += 1
                return
            self._newest = record.ts_next
        elif self.instrument is not None:
            fill_interval(record, self.instrument)
        super().accept(record, out, now)


def fill_interval(record: Funding, instrument: Instrument) -> None:
    """Fill in the length of a rate's interval and the end of the current one, as far as the instrument tells them."""
    interval, offset = instrument.funding_interval_s, instrument.funding_offset_s
    if record.interval_s is None:
        record.interval_s = interval
    at = record.ts_event or record.ts_sent
    if record.kind != "current" or record.ts_next is not None or not interval or offset is None or at is None:
        return
    start = offset * SECOND_NS
    record.ts_next = start + ((at - start) // (interval * SECOND_NS) + 1) * interval * SECOND_NS


class Sized(Topic):
    """A topic whose records have sizes: contracts are told in base or quote amounts where the instrument says how."""

    __slots__ = ()

    def accept(self, record: Trade | Liquidation, out: list[Record], now: Now) -> None:  # type: ignore[override]
        """Pass a record with its sizes filled in."""
        time = record.ts_event
        if time is not None and time > self._latest:
            self._latest = time
        if record.size_unit == "base" and record.base_size is None:
            record.base_size = record.size
        else:
            fill_sizes(record, self.instrument)
        self.count += 1
        out.append(record)
        if self.gap is not None:
            self.close_gap(out, now, "none")


class Counted(Topic):
    """A topic whose records may count contracts: these are told in base or quote amounts besides."""

    __slots__ = ()

    def accept(self, record: Record, out: list[Record], now: Now) -> None:
        """Pass a record with its amounts filled in."""
        fill_amounts(record, self.instrument)
        super().accept(record, out, now)


def topic_class(channel: Channel, instrument: Instrument | None) -> type[Topic]:
    """The class of a topic whose records are not numbered: most channels pass them as they are."""
    if channel in {"trades", "liquidations"}:
        return Sized
    if channel == "funding":
        return Rates
    is_contract = instrument is not None and instrument.contract_size is not None
    if channel == "open_interest" or (channel in {"ticker", "candles"} and is_contract):
        return Counted
    return Topic


def fill_amounts(record: Record, instrument: Instrument | None) -> None:
    """Give a record that tells contracts the amounts of the base or quote asset, where the contract size is known."""
    if isinstance(record, Candle | Ticker):
        if record.contract_volume is not None:
            base, quote = worth(record.contract_volume, instrument)
            record.base_volume = base if record.base_volume is None else record.base_volume
            record.quote_volume = quote if record.quote_volume is None else record.quote_volume
    elif isinstance(record, OpenInterest):
        base, quote = amounts(record.size, record.size_unit, instrument)
        record.base_size = base if record.base_size is None else record.base_size
        record.quote_value = quote if record.quote_value is None else record.quote_value
    elif isinstance(record, Trade | Liquidation):
        fill_sizes(record, instrument)


def fill_sizes(record: Trade | Liquidation, instrument: Instrument | None) -> None:
    """Give a trade or liquidation its size in base or quote units, where the contract size is known."""
    base, quote = amounts(record.size, record.size_unit, instrument)
    record.base_size = record.base_size or base
    record.quote_size = record.quote_size or quote


def amounts(size: str, unit: SizeUnit, instrument: Instrument | None) -> tuple[str | None, str | None]:
    """A size in the base and in the quote asset; None for the one that the unit does not give."""
    if unit == "base":
        return size, None
    if unit == "quote":
        return None, size
    return worth(size, instrument)


def worth(contracts: str, instrument: Instrument | None) -> tuple[str | None, str | None]:
    """A number of contracts in the base and in the quote asset: an instrument gives one of the two, or neither."""
    if instrument is None or instrument.contract_size is None:
        return None, None
    amount = times(contracts, instrument.contract_size)
    if instrument.linear or instrument.kind == "option":  # an option counts its base asset, however it settles
        return amount, None
    return None, amount


def times(size: str, contract_size: str) -> str:
    """Two decimal texts multiplied, exactly."""
    return size if contract_size == "1" else f"{EXACT.multiply(Decimal(size), Decimal(contract_size)):f}"
