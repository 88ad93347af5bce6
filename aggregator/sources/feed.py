"""The source `feed`: another daemon, of whose feed this one is a subscriber.

Where that daemon keeps a journal the link goes on behind a place, and nothing that is published there is lost; where it
keeps none, the link begins with what is published when it is made.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from msgspec import Struct
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from aggregator.bus.history import Cursor, Start
from aggregator.bus.selection import parse_pattern
from aggregator.client import CutOff, FeedError, LockedOut, Tls, wire
from aggregator.client.connection import FeedConnection
from aggregator.client.conversation import Conversation
from aggregator.client.security import Entry
from aggregator.client.wire import parse_place
from aggregator.feed.address import UnixAddress
from aggregator.feed.protocol import Ping, Request, Subscribe, Subscribed
from aggregator.ingest import credentials
from aggregator.records import SCHEMA
from aggregator.sinks.values import FilePath, Word, quote
from aggregator.sources.passages import Passages
from aggregator.sources.source import UNNAMED, KnownPlace, LinkBroken, Passage, Source

SILENT_S = 5.0  # a link on which nothing comes for so long is tried
NO_JOURNAL = "journal"  # the word is in the refusal of a feed that keeps none


def _url(value: str) -> str:
    try:
        place = parse_place(value)
    except FeedError as error:
        raise ValueError(str(error)) from None
    if isinstance(place.address, UnixAddress):
        if not value.startswith("unix:"):
            said = f"{quote(value)} is no address of a feed"
            raise ValueError(f'{said}; write "tcp:HOST:PORT", "wss://HOST" or "unix:PATH"')
        return f"unix:{Path(place.address.path).expanduser()}"
    return value


def _token(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be text")  # noqa: TRY004 - pydantic takes a ValueError
    credentials.parse_place(value)
    return value


def _insecure(value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's own signature
    """Judge how one comes in there by all that stands beside. Raises ValueError for what does not go together."""
    if "url" in info.data and "token" in info.data:
        beside = {name: given for name, given in info.data.items() if name in FeedSourceKeys.__struct_fields__}
        keys = FeedSourceKeys(**beside)
        try:
            Entry(parse_place(keys.url), None if keys.token is None else "token", _tls(keys), insecure=value)
        except FeedError as error:
            raise ValueError(str(error)) from None
    return value


Url = Annotated[str, AfterValidator(_url), Word("address")]
TokenPlace = Annotated[str, BeforeValidator(_token), Word("text")]
Insecure = Annotated[bool, Field(validate_default=True), AfterValidator(_insecure)]


class FeedSourceKeys(Struct, frozen=True, kw_only=True):
    """Another daemon, whose records are passed on: [several daemons](sources.md).

    url: where its feed is: `"tcp:HOST:PORT"`, `"wss://HOST:PORT/feed"`, `"unix:PATH"` and what else clients may write
    token: the place of the token that is shown there, `"file:PATH"`, `"env:NAME"` or `"credential:NAME"`
    tls: whether TLS is spoken, 1.2 or later; with `wss://` it is in any case
    ca: the file of the certificates that may have signed that of the feed; by default those that the system trusts
    certificate: the file of a certificate of this daemon, for a feed that asks for one
    key: the file of its key; by default the same
    server_name: the name that the certificate of the feed must be for; by default the host of `url`
    insecure: whether the token is shown without TLS even to another machine
    """

    url: Url
    token: TokenPlace | None = None
    tls: bool = False
    ca: FilePath | None = None
    certificate: FilePath | None = None
    key: FilePath | None = None
    server_name: str | None = None
    insecure: Insecure = False


def entry_of(keys: FeedSourceKeys) -> Entry:
    """How one comes in there. Raises LinkBroken for what does not go together, or a token that cannot be read."""
    token: str | None = None
    try:
        if keys.token is not None:
            place = credentials.parse_place(keys.token)
            try:
                token = credentials.read_place(place)
            except ValueError as error:
                raise FeedError(f"the token: {place} {error}") from None
        return Entry(parse_place(keys.url), token, _tls(keys), insecure=keys.insecure)
    except FeedError as error:
        raise LinkBroken(str(error), is_refused=True) from None


def _tls(keys: FeedSourceKeys) -> Tls | None:
    named = keys.ca, keys.certificate, keys.key, keys.server_name
    if not keys.tls and named == (None, None, None, None):
        return None
    return Tls(ca=keys.ca, certificate=keys.certificate, key=keys.key, server_name=keys.server_name)


def what_is_wrong(keys: FeedSourceKeys) -> str | None:
    """The first fault of what the keys name: the token, the files of TLS; null: none is found."""
    try:
        entry_of(keys).context()
    except (LinkBroken, FeedError) as error:
        return str(error)
    return None


class FeedLink:
    """One connection to the other daemon's feed."""

    def __init__(self, entry: Entry, topics: Sequence[str]) -> None:
        self.daemon = ""
        self.is_resumed = False
        self._topics = list(topics)
        self._passages = Passages()
        self._talk = Conversation(on_notice=self._passages.note)
        self._connection = FeedConnection(entry, self._talk)
        self._has_journal = True
        self._begun: Passage | None = None  # without a journal the first passage says at once that it is live
        self._standing: int | None = None  # the request to tell how things stand, until it is granted

    # --- it begins

    async def open(self, known: KnownPlace | None) -> None:
        """Connect, show the token, and subscribe. Raises LinkBroken, FeedError."""
        hello = await self._connection.open()
        if hello.schema > SCHEMA:
            said = (
                f"its records are of schema {hello.schema}, and this program reads {SCHEMA}: install a later one here"
            )
            raise LinkBroken(said, is_refused=True)
        self.daemon = hello.daemon or UNNAMED
        try:
            async with asyncio.timeout(wire.GREETING_S):
                await self._subscribe(Cursor(hello.epoch, hello.offset), known)
        except TimeoutError:
            raise LinkBroken(f"no answer to `subscribe` has come in {wire.GREETING_S:.0f} s") from None

    async def _subscribe(self, now: Cursor, known: KnownPlace | None) -> None:
        """Subscribe behind the known place, or else from now on; without a journal there it can only be from now on."""
        if known is not None and known.daemon == self.daemon:
            self._passages.begin(known.cursor)
            start = Start(known.cursor.epoch, known.cursor.offset)
            refusal = await self._asked(Subscribe(self._topics, snapshot=False, policy="lossless", start=start))
            if refusal is None:
                self.is_resumed = True
                return
        self._passages.begin(now)
        refusal = await self._asked(Subscribe(self._topics, policy="lossless", start="now"))
        if refusal is not None and NO_JOURNAL in refusal:
            self._has_journal = False
            refusal = await self._asked(Subscribe(self._topics))
            self._begun = Passage(now, is_live=True)
        if refusal is not None:
            raise LinkBroken(f"it refuses what is asked for: {refusal}", is_refused=True)

    async def _asked(self, request: Subscribe) -> str | None:
        """Ask, and wait for the answer. Null: it is granted, else why it is not."""
        id = await self._say(request)
        await self._connection.read_until(lambda: self._talk.is_answered(id))
        if not self._talk.is_answered(id):
            raise self._end()
        return self._refusal_of(id)

    # --- it goes on

    async def read(self) -> Sequence[Passage]:
        """Wait for what comes. Raises LinkBroken."""
        if self._begun is not None:
            begun, self._begun = self._begun, None
            return [begun]
        try:
            while True:
                passages = self._passages.take(self._talk)
                await self._ask_again(passages)
                if passages:
                    return passages
                if self._talk.has_ended:
                    break
                await self._hear()
        except FeedError as error:
            raise _broken(error) from None
        raise self._end()

    async def _hear(self) -> None:
        """Read once. A link that is silent is tried, and given up where nothing comes even then: it may be half open.

        Only the time is counted in which somebody reads: a link to which nobody listens is not silent.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(SILENT_S):
                await self._connection.read()
                return
        try:
            async with asyncio.timeout(wire.GREETING_S):
                self._talk.forget(await self._say(Ping()))
                await self._connection.read()
        except TimeoutError:
            said = f"nothing has come for {SILENT_S + wire.GREETING_S:.0f} s, no answer to a `ping` either"
            raise LinkBroken(said) from None

    def _end(self) -> LinkBroken:
        """The way in which the connection has ended."""
        try:
            self._talk.check_end()
        except CutOff as error:
            return LinkBroken(str(error))
        except FeedError as error:
            return LinkBroken(f"it refuses: {error}", is_refused=True)
        return LinkBroken(f"it has hung up: {self._talk.goodbye}")

    async def _ask_again(self, passages: Sequence[Passage]) -> None:
        """Have told how things stand where a hole comes without a journal, or where that was refused before.

        It is refused where the feed has begun to tell what it has missed before it read the request.
        """
        if not self._has_journal and any(passage.gap is not None for passage in passages):
            await self.ask_standing(books=True)
        elif self._standing is not None and self._talk.is_answered(self._standing):
            if self._refusal_of(self._standing) is None:
                self._forget_standing()
            elif any(passage.is_live for passage in passages):
                await self.ask_standing(books=True)

    async def ask_standing(self, *, books: bool) -> None:
        """Have told how things stand: to subscribe to what is subscribed does it."""
        topics = self._topics if books else list(_instruments_of(self._topics))
        self._forget_standing()
        if topics:
            self._standing = await self._say(Subscribe(topics))

    def _forget_standing(self) -> None:
        if self._standing is not None:
            self._talk.forget(self._standing)
            self._standing = None

    def _refusal_of(self, id: int) -> str | None:
        """Why a subscription is not granted; null: it is."""
        try:
            self._talk.answer(id, Subscribed)
        except FeedError as error:
            return str(error)
        return None

    async def _say(self, request: Request) -> int:
        """Send a request, or have it sent once all that is past is told; gives its number."""
        id, line = self._talk.ask(request)
        await self._connection.say(line)
        return id

    async def close(self) -> None:
        """Hang up."""
        await self._connection.close()


def _broken(error: FeedError) -> LinkBroken:
    return LinkBroken(str(error), is_refused=isinstance(error, LockedOut))


async def open_feed(keys: FeedSourceKeys, topics: Sequence[str], known: KnownPlace | None) -> FeedLink:
    """Open a link. Raises LinkBroken."""
    link = FeedLink(entry_of(keys), topics)
    try:
        await link.open(known)
    except BaseException as error:
        await link.close()
        if isinstance(error, FeedError):
            raise _broken(error) from None
        raise
    return link


def _instruments_of(topics: Sequence[str]) -> Iterator[str]:
    """The patterns that mean the instruments among those of some patterns."""
    for pattern in map(parse_pattern, topics):
        if "instruments" in pattern.channels:
            yield f"instruments:{pattern.exchange}:{pattern.symbol}"


SOURCE = Source(
    "feed",
    FeedSourceKeys,
    open_feed,
    unique="url",
    check=what_is_wrong,
    example={
        "url": "wss://feed.example:8791/feed",
        "token": "file:/etc/aggregator/feed.token",
        "ca": "/etc/aggregator/ca.pem",
        "certificate": "/etc/aggregator/client.pem",
        "key": "/etc/aggregator/client.key",
        "server_name": "feed.example",
    },
)
