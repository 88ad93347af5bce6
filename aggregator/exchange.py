"""The contract: what a connector declares about its exchange. Data and pure functions, nothing else.

A connector is a module with `EXCHANGE = Exchange(...)`. The fields of the declarations below are the
ways in which exchanges differ; an oddity of a single exchange is solved inside its own module.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NoReturn

from msgspec import Raw, Struct

from aggregator.book import OrderBook
from aggregator.records import (
    CHANNEL_OF,
    MS_NS,
    SECOND_NS,
    BookSnapshot,
    Candle,
    Channel,
    Instrument,
    OrdersSnapshot,
    Record,
    Trade,
)
from aggregator.sequence import Rule


class Subscription(Struct, frozen=True, gc=False):
    """One topic that is wanted of an exchange.

    interval: of candles (`1m`); for other channels it means nothing.
    """

    channel: Channel
    raw_symbol: str
    interval: str = "1m"


Subscribe = Callable[[Sequence[Subscription], int], Iterable[bytes]]  # topics and a number -> frames to send
HTTP_OK = range(200, 300)  # the statuses of good answers
ANY = "SYMBOL"  # stands for a symbol that is not known, in a request that is made to be looked at


Budget = tuple[int, float]  # at most this amount in any window of so many seconds
Compression = Literal["unknown", "offered", "required"]


class Credentials(Mapping[str, str]):
    """The keys of a user's account at an exchange, by the names that its `Keys` declare.

    Nothing that shows them shows a value, and nothing can write them: only who asks for one by its name has it.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        """Keep these values."""
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Credentials({', '.join(f'{name}=***' for name in self._values)})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials are not written anywhere")


class Keys(Struct, frozen=True, kw_only=True):
    """The keys of an account that an exchange wants to see before it gives some of its data, or all of it.

    fields: their names in a configuration -> the exchange's own words for them
    page: where the exchange gives them to whoever has an account
    """

    fields: Mapping[str, str]
    page: str


SignRequest = Callable[[Credentials, int, "Request"], "Request"]
SignFrame = Callable[[Credentials, int, bytes], bytes]


class Request(Struct, frozen=True):
    """An HTTP request.

    weight: how much of its limit the exchange counts for it
    headers: headers that the exchange needs to see, beside those of every request
    fresh: a parameter that gets another value each time, if the exchange would otherwise answer from a cache
    timed: the moment (ns) at which it is sent -> the rest of its query, where the exchange wants to be told a time:
        what is asked for by `from` and `to`. Captures and logs know only the one without
    sign: what is done with it at the moment (ns) at which it is sent, where the exchange wants to see keys: it gives
        the request with headers or a query that show them. Captures and logs know only the one without
    """

    url: str
    method: str = "GET"
    body: bytes | None = None
    weight: int = 1
    headers: Mapping[str, str] = {}
    fresh: str | None = None
    timed: Callable[[int], str] | None = None
    sign: SignRequest | None = None


class Address(Struct, frozen=True):
    """Where a WebSocket is dialled, and what its handshake says; see `Stream` for the fields."""

    url: str
    headers: Mapping[str, str] = {}
    compression: Compression = "unknown"
    login: bytes | None = None
    sign: SignFrame | None = None


class Trouble(Struct, frozen=True):
    """The error that an answer by REST tells.

    words: the exchange's own
    is_busy: whether the exchange was asked too much (a limit, a ban); its host is then left alone for a while
    wait: for how many seconds, if the exchange says so in another way than by `Retry-After`
    until: the time (ns) before which nothing is to be asked, where the exchange names a time instead
    """

    words: str
    is_busy: bool = False
    wait: float | None = None
    until: int | None = None


class Reply(Struct, frozen=True):
    """From a parser: send this frame back (a pong)."""

    frame: bytes


class Accepted(Struct, frozen=True):
    """From a parser: a subscription is confirmed.

    It is named by the request's id, by the exchange's own name of the topic (see `Stream.topic`), by channel and
    instrument, or by its channel alone.

    ts: when the exchange confirmed it (ns), where it says so by the clock of its data (see `Stream.tells_past`)
    again: it was subscribed to before, so that nothing begins anew
    """

    id: int | None = None
    channel: Channel | None = None
    raw_symbol: str | None = None
    topic: Hashable = None
    ts: int | None = None
    again: bool = False


Meaning = Literal["final", "passing", "unknown"]


class Refused(Struct, frozen=True):
    """From a parser: a subscription is refused. Its request's id or its topic names it; with neither it is not named.

    A topic is named by the exchange's own name (see `Stream.topic`), or by channel and instrument. A market without
    a channel means every topic of it that waits for an answer. An id together with a topic or an instrument says that
    the whole request is refused because of it, and the rest is asked for again.

    reason: the exchange's own words
    meaning: `final` there is no such market or channel: it is not asked for again before the next listing, and ever
        more rarely where the exchange closes the connection behind it (`Stream.hangs_up`);
        `passing` too many requests, or the exchange is busy: it is asked for again soon; `unknown`: ever more rarely
    interval: of candles, for the log: the session fills it in
    whole: the whole request is refused because of the topic, and the exchange numbers no requests
    """

    reason: str
    id: int | None = None
    channel: Channel | None = None
    raw_symbol: str | None = None
    meaning: Meaning = "unknown"
    interval: str | None = None
    whole: bool = False
    topic: Hashable = None


class Ignored(Struct, frozen=True):
    """From a parser: a message is neither a record nor an error (a trade of size 0). It is counted, and named once."""

    reason: str


class Hangup(Struct, frozen=True):
    """From a parser: the exchange will soon close this connection, so another one should take its place."""

    reason: str


class Ready(Struct, frozen=True):
    """From a parser: the exchange may be asked for topics from now on (see `Stream.greets`)."""


class Denied(Struct, frozen=True):
    """From a parser: the exchange does not take the keys, or they do not allow what is asked for (see `Stream.sign`).

    reason: the exchange's own words
    """

    reason: str


Event = Record | Reply | Accepted | Refused | Ignored | Hangup | Ready | Denied
Parse = Callable[[bytes], Iterable[Event]]


class Heartbeat(Struct, frozen=True):
    """A frame to send every so many seconds; a function is given the time in ns."""

    every: float
    frame: bytes | Callable[[int], bytes]


class Snapshot(Struct, frozen=True):
    """How to get a whole book outside the stream: by REST (`request`), or by a frame on the socket (`ask`).

    request: raw symbol -> the request
    parse: raw symbol and the answer's body -> the snapshot
    ask: raw symbol and an id -> the frame; the answer comes through the stream's own parser
    after_delta: ask only once a first delta has come, because an earlier snapshot would be too old
    in_band: the stream usually brings it by itself, too. REST is asked only if a delta comes without it, or nothing
        comes in time; if one way fails, the other is tried
    """

    request: Callable[[str], Request] | None = None
    parse: Callable[[str, bytes], BookSnapshot | OrdersSnapshot] | None = None
    ask: Callable[[str, int], bytes] | None = None
    after_delta: bool = True
    in_band: bool = False


class Ticket(Struct, frozen=True):
    """A stream's address that must be asked for: the request, and how to read the address from the answer.

    The request shows no keys: captures and logs know the address that it is answered by.
    """

    request: Request
    read: Callable[[bytes], str]


class Since(Struct, frozen=True):
    """The point after which trades are wanted: the number before the first missing one, and a time (ns) before it."""

    sequence: int | None
    ts: int


class Backfill(Struct, frozen=True):
    """How to ask for trades of a past range.

    request: raw symbol and the point after which trades are wanted -> the request
    parse: raw symbol and the answer's body -> trades, oldest first, numbered as the stream's are
    """

    request: Callable[[str, Since], Request]
    parse: Callable[[str, bytes], Iterable[Trade]]


def every_instrument(_: Instrument) -> bool:
    """The default of `serves`: the exchange has one market."""
    return True


def nothing_to_ask(_: Sequence[Subscription], __: int) -> Iterable[bytes]:
    """The default of `Stream.subscribe`, for what is only read back."""
    return ()


class PastMarker:
    """A reader of one connection's frames that flags what is of the past, as `Stream.tells_past` says."""

    def __init__(self, stream: "Stream", parse: Parse) -> None:
        """Read frames by `parse`; nothing is confirmed yet."""
        self._parse = parse
        self._kinds = {kind: channel for kind, channel in CHANNEL_OF.items() if channel in stream.tells_past}
        self._name = stream.topic
        self._ends: dict[Hashable, int | None] = {}  # confirmed topics whose past may come -> its end, if that is told
        self._heard: set[Hashable] | None = None if stream.acknowledges else set()

    def read(self, frame: bytes) -> Iterable[Event]:
        """Read a frame. In one that confirms a topic, this comes before data of it."""
        events = list(self._parse(frame))
        if self._heard is None and not self._ends and (not events or type(events[0]) is not Accepted):
            return events
        told = set()
        for event in events:
            if isinstance(event, Accepted):
                self._confirm(event)
            elif isinstance(event, Record) and type(event) in self._kinds:
                told.add(self._mark(event))
        for topic in told:
            self._ends.pop(topic, None)
        if self._heard is not None:
            self._heard |= told
        return events

    def _topic(self, channel: Channel, raw_symbol: str) -> Hashable:
        return (channel, raw_symbol) if self._name is None else self._name(Subscription(channel, raw_symbol))

    def _confirm(self, event: Accepted) -> None:
        if event.topic is not None:
            topic = event.topic
        elif event.channel is not None and event.raw_symbol is not None:
            topic = self._topic(event.channel, event.raw_symbol)
        else:
            return
        if not event.again:
            self._ends[topic] = event.ts

    def _mark(self, record: Record) -> Hashable:
        """Flag a record if it is of the past. Gives its topic if nothing of the past can follow this frame."""
        topic = self._topic(self._kinds[type(record)], record.raw_symbol or "")
        end = self._ends.get(topic)
        is_past = topic in self._ends if self._heard is None else topic not in self._heard
        if end is not None:
            is_past = (record.ts_sent or record.ts_event or end) < end
        if is_past:
            record.flags = ("snapshot",)
        return None if is_past and end is not None else topic


class Stream(Struct, frozen=True, kw_only=True):
    """One WebSocket address and what is spoken on it.

    name: unique within the exchange, for `normalize --stream`
    url: the address, or a function of the subscriptions that gives it, of none too: it is dialled anew where more are
        wanted
    mirrors: other addresses of the same, tried in turn when one fails; the second connection of two begins with one
    ticket: how to ask for the address, if that needs a token
    headers: headers that the exchange needs to see in the handshake
    login: the frame that the exchange wants to get before any other, without keys
    sign: what is done with `login`, or with each request for topics where there is no `login`, at the moment (ns) at
        which it is sent: it gives the frame with the keys. A stream that signs is used only where there are keys; one
        without, behind it among the feeds, carries its channels where there are none
    compression: permessage-deflate: `unknown` whether the exchange has it, `offered` on demand, or `required`
    since: the day (`2027-03-01`, UTC) from which this feed is used; before it, another feed carries its channels
    until: the day from which it is no longer used; captures of it stay readable
    channels: ours -> the exchange's name of it (free for the connector's own use); where `orders` is among them, the
        book is told order by order: `parse` and `snapshot` give `OrdersSnapshot` and `OrdersDelta`, which follow the
        rule of the book, and the book by level is made of them. A row of a delta whose size is negative takes so much
        off its order, wherever that stands; an order of size zero is gone, whatever its price and side say
    serves: which instruments this address knows
    named: channels whose topics the exchange knows by another name than the raw symbol -> an instrument's name there;
        `subscribe` gets that name, `parse` gives it, and a record counts for each instrument of that name
    topic: the exchange's own name of a topic (`trade.BTCUSDT`, or a tuple of its parts), which its frames say: topics
        of ours that have one name are asked for once, and `Accepted` and `Refused` may give that name as their `topic`
    subscribe: topics and an id (unique on the connection) -> frames to send; of those that have one name, the first
    unsubscribe: likewise
    parse: a frame -> what it says; or `parser`, called once per connection, where frames need memory of earlier ones
    tells_past: channels of which the exchange tells what was last before a topic was subscribed to, and does not say
        in the message that it is of the past. It is flagged `snapshot`: what the topic's first message behind its
        confirmation holds, which may be in the same frame, or, where the confirmation names a time (`Accepted.ts`),
        what was published before that. The confirmation must name the topic; on a stream that confirms nothing
        (`acknowledges`), a topic's first message on a connection is meant
    inflate: undoes a compression of frames that the exchange does itself
    heartbeat: the frame that the exchange wants to get regularly
    snapshot: how to get a whole book, if the stream does not bring it by itself
    sequence: channel -> the rule that its numbers follow
    checksum: a book and its instrument (None: not known) -> the number to compare with the exchange's own
    backfill: how to ask for trades that were missed
    depth: levels a side that the exchange keeps in its book stream; null: all
    crosses: whether its book is crossed at times, as it is told: orders that match stand in it until a block is made
    periodic_joins: whether changes follow whole books of reason `periodic` too, as one channel brings both. Else such a
        book is another channel's, which a capture may hold as well: no change applies to it, it stands in until the
        book that changes follow is had, and is passed over from then on
    per_connection: how many topics one connection may carry
    one_market: whether a connection carries topics of a single market, which its address names; what it brings without
        naming a market is of that one
    batch: how many topics one call of `subscribe` may get
    pace: seconds between frames sent
    patience: after so many seconds of silence the whole connection is taken for dead
    greets: whether the exchange speaks first: topics are asked for once the parser gives `Ready`
    acknowledges: whether each subscription is confirmed or refused
    hangs_up: whether it closes the connection, in words or without, where a topic is asked for that it does not know
    replaces: whether a request that subscribes takes the place of all before it, so that it must name every topic
    """

    name: str = "main"
    url: str | Callable[[Sequence[Subscription]], str] = ""
    mirrors: tuple[str, ...] = ()
    ticket: Ticket | None = None
    headers: Mapping[str, str] = {}
    login: bytes | None = None
    sign: SignFrame | None = None
    compression: Compression = "unknown"
    since: str | None = None
    until: str | None = None
    channels: Mapping[Channel, str]
    serves: Callable[[Instrument], bool] = every_instrument
    named: Mapping[Channel, Callable[[Instrument], str | None]] = {}
    topic: Callable[[Subscription], Hashable] | None = None
    subscribe: Subscribe = nothing_to_ask
    unsubscribe: Subscribe | None = None
    parse: Parse | None = None
    parser: Callable[[], Parse] | None = None
    tells_past: tuple[Channel, ...] = ()
    inflate: Callable[[bytes], bytes] | None = None
    heartbeat: Heartbeat | None = None
    snapshot: Snapshot | None = None
    sequence: Mapping[Channel, Rule] = {}
    checksum: Callable[[OrderBook, Instrument | None], int] | None = None
    backfill: Backfill | None = None
    depth: int | None = None
    crosses: bool = False
    periodic_joins: bool = False
    per_connection: int = 200
    one_market: bool = False
    batch: int = 50
    pace: float = 0.1
    patience: float = 60
    greets: bool = False
    acknowledges: bool = True
    hangs_up: bool = False
    replaces: bool = False

    def __post_init__(self) -> None:
        """Refuse a declaration that cannot be read. Raises TypeError."""
        if self.parse is None and self.parser is None:
            raise TypeError(f"the stream {self.name} of {self.url} declares neither `parse` nor `parser`")

    def reader(self) -> Parse:
        """The function that reads one connection's frames."""
        parse = self.parse if self.parser is None else self.parser()
        assert parse is not None  # noqa: S101 - for the type checker: `__post_init__` sees to it
        return PastMarker(self, parse).read if self.tells_past else parse

    @property
    def needs_keys(self) -> bool:
        """Tell whether the exchange gives this only to who shows keys."""
        return self.sign is not None


class Poll(Struct, frozen=True, kw_only=True):
    """One kind of answer that is asked for again and again.

    channels: what an answer carries
    every: seconds between two answers for one symbol
    request: raw symbol (`""` where one answer carries `many` symbols) -> the request
    parse: raw symbol (`""` likewise) and body -> records, oldest first
    many: whether one answer carries every symbol
    """

    name: str = "rest"
    channels: tuple[Channel, ...]
    every: float
    request: Callable[[str], Request]
    parse: Callable[[str, bytes], Iterable[Record]]
    serves: Callable[[Instrument], bool] = every_instrument
    many: bool = False

    @property
    def needs_keys(self) -> bool:
        """Tell whether the exchange gives this only to who shows keys."""
        return self.request("" if self.many else ANY).sign is not None


class Page(Struct, frozen=True, kw_only=True):
    """One page of the past of a market that is asked for.

    start, end: the times (ns) between which records are wanted, of candles the times at which they begin: the start is
        within, the end is not
    interval: of candles
    edge: the record to which the walk has come within this range; null: it has not begun
    number: the number of the first trade that is wanted, where trades are walked by their numbers; null: the newest
    """

    raw_symbol: str
    start: int
    end: int
    interval: str = "1m"
    edge: Trade | Candle | None = None
    number: int | None = None


Walk = Literal["forward", "backward", "numbered", "latest"]


class PastPages(Struct, frozen=True, kw_only=True):
    """How to ask for trades or candles of the past, page by page, where nobody has followed them.

    An answer may hold records beyond what was asked for, and some that an earlier one had: they are left out. So a page
    may begin with the moment of its edge, and trades of one moment are not lost between two pages.

    channel: what an answer carries
    walk: `forward`: an answer holds the oldest of the range, and the next page begins at the newest of these;
        `backward`: it holds the newest, and the next page ends at the oldest of these; `numbered`: trades have numbers
        without a hole, and are asked for by the first of them; `latest`: whatever is asked, the newest come
    request: a page -> the request
    parse: a page and the answer's body -> records, oldest first. Trades have their id and `ts_event`
    most: how many records an answer has at most
    serves: which instruments are asked for in this way
    span_s: the longest time that one request may be about
    reach_s: how far back the exchange goes; null: to the beginning
    deepest: of candles: how many of the newest are there; null: all
    unit_ns: the step of the times that requests name: an answer that is full of one such moment hides what else
        happened in it, which is told by a gap
    intervals: of candles, those that can be asked for, as we spell them
    """

    channel: Literal["trades", "candles"]
    walk: Walk = "forward"
    request: Callable[[Page], Request]
    parse: Callable[[Page, bytes], Iterable[Trade | Candle]]
    most: int
    serves: Callable[[Instrument], bool] = every_instrument
    span_s: int | None = None
    reach_s: int | None = None
    deepest: int | None = None
    unit_ns: int = MS_NS
    intervals: tuple[str, ...] = ()


def no_more(_: Request, __: bytes) -> Iterable[Request]:
    """The default of `Listing.more`: an answer is whole."""
    return ()


def no_rows(_: bytes) -> Iterable[Raw]:
    """The default of `Listing.rows`: nothing is asked for."""
    return ()


def no_instrument(_: Raw) -> Instrument | None:
    """The default of `Listing.read`."""
    return None


class Details(Struct, frozen=True):
    """An answer that completes what the listing says of its instruments, such as how often funding is exchanged.

    A row gives an instrument of which only its raw symbol, its kind and what is to be completed are set: whatever the
    listing leaves open of the instrument of that name is taken from it. It lists nothing: a name that the listing does
    not have is of no interest, and where the answer is not had, what was known before stands. `read` raises for a row
    of any other answer.

    request, rows, read, more: as of a listing
    """

    request: Request
    rows: Callable[[bytes], Iterable[Raw]]
    read: Callable[[Raw], Instrument | None]
    more: Callable[[Request, bytes], Iterable[Request]] = no_more


class Listing(Struct, frozen=True):
    """How to get the instruments: the requests, an answer's rows, and one row's instrument.

    A row that `read` cannot read is skipped and named; None says that the row is of no interest. `more` gives the
    requests that follow from a request and its answer: the next page, or a list for each asset that the answer names.
    If an exchange publishes no list, `fixed` holds the instruments that its documentation names. `state` lists the
    names that a row's field of the market's state may have; an unknown word in that field is named in the log.
    `details` are further answers, which complete the instruments that the others list.
    """

    requests: tuple[Request, ...] = ()
    rows: Callable[[bytes], Iterable[Raw]] = no_rows
    read: Callable[[Raw], Instrument | None] = no_instrument
    more: Callable[[Request, bytes], Iterable[Request]] = no_more
    fixed: tuple[Instrument, ...] = ()
    state: tuple[str, ...] = ("status", "state")
    details: tuple[Details, ...] = ()

    @property
    def all_requests(self) -> tuple[Request, ...]:
        """Those of the listing, and those that complete it."""
        return *self.requests, *(detail.request for detail in self.details)

    @property
    def needs_keys(self) -> bool:
        """Tell whether the exchange lists nothing to who shows no keys."""
        return bool(self.requests) and all(request.sign is not None for request in self.requests)


class Limits(Struct, frozen=True):
    """The limits that the exchange sets for one address.

    weights: prefix of a REST address -> one or several (weight, seconds); each of them is kept
    connects: (new connections, seconds)
    connections: how many may be open at once, over all streams and REST
    requests: (frames that subscribe or unsubscribe, seconds) on one connection
    lifetime: seconds after which the exchange itself ends a connection
    """

    weights: Mapping[str, tuple[Budget, ...]] = {}
    connects: Budget | None = None
    connections: int | None = None
    requests: Budget | None = None
    lifetime: float | None = None


class Archive(Struct, frozen=True, kw_only=True):
    """A format that an exchange spoke until a day: captures of before may be of it, and nobody is asked for anything.

    until: the day (`2022-11-12`, UTC) from which it was not spoken any more
    streams: what was spoken, without an address; no other feed or archive of the exchange has a stream of the same name
    listing: what reads an answer of that time's listing from a file; it has no requests
    """

    until: str
    streams: tuple[Stream, ...]
    listing: Listing = Listing()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Every channel that some stream had, in the order of declaration."""
        return tuple(dict.fromkeys(channel for stream in self.streams for channel in stream.channels))


class Older(Struct, frozen=True, kw_only=True):
    """A format of before that the readers of today know too, as the first bytes of a frame tell it apart.

    until: from when on it was not spoken any more, as exactly as that is known (`2025-08`, UTC); null: it is not known
    channels: what is read of it
    """

    channels: tuple[Channel, ...]
    until: str | None = None


class Exchange(Struct, frozen=True, kw_only=True):
    """Everything that a connector declares about its exchange.

    id: as ccxt spells it
    feeds: what is spoken today; none of an exchange that is over, of which archives are all
    archives: the formats that it spoke before, in the order of their days
    older: those that need no day to be told apart, and so no archive
    trouble: status, headers (names in lower case) and body of an answer by REST -> what it says against its request;
        None if the answer is good, or if its status alone tells. Needed if errors come with HTTP 200
    history: how trades and candles of the past are asked for
    keys: the keys that it wants to see where something of it is signed (`Request.sign`, `Stream.sign`)
    docs: link to the exchange's own documentation
    checked: when its wire was last compared, and with what: `2026-09, live probes by others; 2026-11, its changelog`
    announced: changes of its wire that the exchange has announced, with the day
    notes: differences of its fields that a user must know; printed in the documentation, as the two above are
    """

    id: str
    docs: str
    feeds: tuple[Stream | Poll, ...] = ()
    listing: Listing = Listing()
    archives: tuple[Archive, ...] = ()
    older: tuple[Older, ...] = ()
    trouble: Callable[[int, Mapping[str, str], bytes], Trouble | None] | None = None
    history: tuple[PastPages, ...] = ()
    limits: Limits = Limits()
    keys: Keys | None = None
    checked: str = ""
    announced: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Every channel that some feed carries, in the order of declaration."""
        return tuple(dict.fromkeys(channel for feed in self.feeds for channel in feed.channels))

    @property
    def sure_channels(self) -> list[Channel]:
        """The channels whose numbers say which record it is, on whatever connection."""
        rules = {
            channel: [stream.sequence.get(channel) for stream in self.streams if channel in stream.channels]
            for channel in self.channels
        }
        return [channel for channel, found in rules.items() if found and all(r is not None and r.sure for r in found)]

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The feeds that are streams."""
        return tuple(feed for feed in self.feeds if isinstance(feed, Stream))

    @property
    def polls(self) -> tuple[Poll, ...]:
        """The feeds that are polled."""
        return tuple(feed for feed in self.feeds if isinstance(feed, Poll))

    @property
    def archived(self) -> tuple[Stream, ...]:
        """The streams of all archives."""
        return tuple(stream for archive in self.archives for stream in archive.streams)

    @property
    def listings(self) -> tuple[Listing, ...]:
        """Today's listing, where anything is spoken today, then those of the archives, the newest first."""
        return *((self.listing,) if self.feeds else ()), *(archive.listing for archive in reversed(self.archives))

    def streams_at(self, ts: int) -> tuple[Stream, ...]:
        """The streams by which a capture of this moment (ns; 0: it is not known) may be read, the likeliest first.

        They are those of the archives that were not over yet, and today's, as a format often began before the one
        before it ended. Where nothing else is left, they are the newest archive's. A capture without times may be of
        any format.
        """
        if not self.archives:
            return self.streams
        if not ts:
            return *self.streams, *(stream for archive in reversed(self.archives) for stream in archive.streams)
        day = f"{datetime.fromtimestamp(ts // SECOND_NS, UTC):%Y-%m-%d}"
        older = (stream for archive in self.archives if day < archive.until for stream in archive.streams)
        return (*older, *self.streams) or self.archives[-1].streams

    @property
    def with_keys(self) -> Literal["some", "all"] | None:
        """How much of it is given only to who shows keys; null: nothing."""
        signed = [feed.needs_keys for feed in self.feeds]
        if self.listing.needs_keys or all(signed):
            return "all"
        return "some" if any(signed) else None

    def feeds_on(self, day: str, *, has_keys: bool = True) -> tuple[Stream | Poll, ...]:
        """The feeds that are used on a day (`2027-03-01`)."""
        return tuple(
            feed
            for feed in self.feeds
            if (isinstance(feed, Poll) or ((feed.since or "") <= day < (feed.until or "9999")))
            and (has_keys or not feed.needs_keys)
        )
