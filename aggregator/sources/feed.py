"""The source `feed`: another daemon, of whose feed this one is a subscriber.

Where that daemon keeps a journal the link goes on behind a place, and nothing that is published there is lost; where it
keeps none, the link begins with what is published when it is made.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Struct
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from aggregator.bus.history import Cursor, Start
from aggregator.bus.selection import parse_pattern
from aggregator.client import FeedError, LockedOut, Tls
from aggregator.client.security import Entry
from aggregator.client.wire import READ_BYTES, parse_place, wire_to
from aggregator.feed.address import UnixAddress
from aggregator.feed.protocol import Authenticate, Authenticated, Error, Hello, Ping, Request, Subscribe, Subscribed
from aggregator.ingest import credentials
from aggregator.records import SCHEMA
from aggregator.sinks.values import FilePath, Word, quote
from aggregator.sources.passages import JOURNAL, Passages, read_line
from aggregator.sources.source import UNNAMED, KnownPlace, LinkBroken, Passage, Source

GREETING_S = 10.0  # the other daemon has so long to answer, and as long again for each request
SILENT_S = 5.0  # a link on which nothing comes for so long is tried
LINE_BYTES = 64 * 2**20  # the longest book has a few MiB
LAST_ID = 1 << 31

_encode = msgspec.json.Encoder().encode


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
        self._entry = entry
        self._topics = list(topics)
        self._wire = wire_to(entry.place, speaks_tls=entry.speaks_tls)
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None
        self._rest = b""
        self._lines: list[bytes] = []  # those that came behind an answer that was waited for
        self._last_id = 0
        self._passages = Passages(Cursor("", 0))
        self._has_journal = True
        self._begun: Passage | None = (
            None  # there is no journal, so that the first passage says at once that it is live
        )
        self._watching: asyncio.Task[None] | None = None
        self._heard = 0.0  # when something came last

    # --- it begins

    async def open(self, known: KnownPlace | None) -> None:
        """Connect, show the token, and subscribe. Raises LinkBroken, FeedError."""
        token, context, address = self._entry.token(), self._entry.context(), self._entry.place.address
        try:
            async with asyncio.timeout(GREETING_S):
                if isinstance(address, UnixAddress):
                    dialled = asyncio.open_unix_connection(address.path, limit=READ_BYTES)
                else:
                    dialled = asyncio.open_connection(
                        address.host,
                        address.port,
                        limit=READ_BYTES,
                        ssl=context,
                        server_hostname=self._entry.server_name,
                    )
                self._reader, self._writer = await dialled
        except OSError as error:
            raise self._entry.unreachable(error) from error
        try:
            async with asyncio.timeout(GREETING_S):
                hello = await self._greeted(token)
        except TimeoutError:
            raise LinkBroken(f"what listens there has not said a word in {GREETING_S:.0f} s") from None
        self._begin(hello)
        try:
            async with asyncio.timeout(GREETING_S):
                await self._subscribe(hello, known)
        except TimeoutError:
            raise LinkBroken(f"no answer to `subscribe` has come in {GREETING_S:.0f} s") from None
        self._heard = asyncio.get_running_loop().time()
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def _greeted(self, token: str | None) -> Hello:
        await self._send(self._wire.to_send())
        while not self._wire.is_open:
            self._rest += await self._receive()
        if token is not None:
            await self._say(Authenticate(token))
        hello: Hello | None = None
        while hello is None or token is not None:
            for line in await self._some():
                told = read_line(line)
                if isinstance(told, Hello):
                    hello = told
                elif isinstance(told, Authenticated):
                    token = None
                elif isinstance(told, Error):
                    raise LinkBroken(told.error, is_refused=True)
        return hello

    def _begin(self, hello: Hello) -> None:
        if hello.schema > SCHEMA:
            said = (
                f"its records are of schema {hello.schema}, and this program reads {SCHEMA}: install a later one here"
            )
            raise LinkBroken(said, is_refused=True)
        self.daemon = hello.daemon or UNNAMED
        self._passages = Passages(Cursor(hello.epoch, hello.offset))

    async def _subscribe(self, hello: Hello, known: KnownPlace | None) -> None:
        """Subscribe behind the known place, or else from now on; without a journal there it can only be from now on."""
        if known is not None and known.daemon == self.daemon:
            start = Start(known.cursor.epoch, known.cursor.offset)
            refusal = await self._asked(Subscribe(self._topics, snapshot=False, policy="lossless", start=start))
            if refusal is None:
                self.is_resumed = True
                self._passages = Passages(known.cursor)
                return
        refusal = await self._asked(Subscribe(self._topics, policy="lossless", start="now"))
        if refusal is not None and JOURNAL in refusal:
            self._has_journal = False
            refusal = await self._asked(Subscribe(self._topics))
            self._begun = Passage(Cursor(hello.epoch, hello.offset), is_live=True)
        if refusal is not None:
            raise LinkBroken(f"it refuses what is asked for: {refusal}", is_refused=True)

    async def _asked(self, request: Subscribe) -> str | None:
        """Ask, and wait for the answer; what comes behind it is kept. Null: it is granted, else why it is not."""
        id = await self._say(request)
        while True:
            lines = await self._some()
            for at, line in enumerate(lines):
                told = read_line(line)
                if isinstance(told, Subscribed | Error) and told.id == id:
                    self._lines = lines[at + 1 :]
                    return told.error if isinstance(told, Error) else None

    # --- it goes on

    async def read(self) -> Sequence[Passage]:
        """Wait for what comes. Raises LinkBroken."""
        if self._begun is not None:
            begun, self._begun = self._begun, None
            return [begun]
        while self._passages.end is None:
            passages = self._passages.sort(await self._some())
            await self._ask_again(passages)
            if passages:
                return passages
        raise self._passages.end

    async def _ask_again(self, passages: Sequence[Passage]) -> None:
        """Have told how things stand where a hole comes without a journal, or where that was refused before."""
        if not self._has_journal:
            if any(passage.gap is not None for passage in passages):
                await self.ask_standing(books=True)
        elif self._passages.is_refused and any(passage.is_live for passage in passages):
            self._passages.is_refused = False
            await self.ask_standing(books=True)

    async def ask_standing(self, *, books: bool) -> None:
        """Have told how things stand: to subscribe to what is subscribed does it."""
        topics = self._topics if books else list(_instruments_of(self._topics))
        if topics:
            await self._say(Subscribe(topics))

    # --- the connection

    async def _some(self) -> list[bytes]:
        """The whole lines that come next, one at least. Raises LinkBroken at the end."""
        if self._lines:
            lines, self._lines = self._lines, []
            return lines
        while True:
            *lines, self._rest = self._rest.split(b"\n")
            if found := [line for line in lines if line]:
                return found
            if len(self._rest) > LINE_BYTES:
                raise LinkBroken(f"a line of more than {LINE_BYTES >> 20} MiB: this is no feed")
            self._rest += await self._receive()

    async def _receive(self) -> bytes:
        try:
            data = await self._reader.read(READ_BYTES)
        except OSError as error:
            refusal = self._entry.ended(error)
            raise refusal or LinkBroken(f"the connection was cut: {error}") from None
        self._heard = asyncio.get_running_loop().time()
        lines = self._wire.received(data)
        await self._send(self._wire.to_send())
        if not data:
            raise LinkBroken("the connection was cut")
        return lines

    async def _say(self, request: Request) -> int:
        self._last_id = self._last_id % LAST_ID + 1
        request.id = self._last_id
        await self._send(self._wire.sent(_encode(request) + b"\n"))
        return self._last_id

    async def _send(self, data: bytes) -> None:
        if data and self._writer is not None:
            with suppress(OSError):  # reading tells what came before the end
                self._writer.write(data)
                await self._writer.drain()

    async def _watch(self) -> None:
        """Try a link that is silent, and cut it where nothing comes even then: a way may end without a word."""
        loop = asyncio.get_running_loop()
        is_tried = False
        while self._writer is not None:
            silent = loop.time() - self._heard
            if silent < SILENT_S:
                is_tried = False
            elif not is_tried:
                is_tried = True
                await self._say(Ping())
            elif silent > SILENT_S + GREETING_S:
                self._writer.transport.abort()
                return
            await asyncio.sleep(SILENT_S / 5)

    async def close(self) -> None:
        """Hang up."""
        if self._watching is not None:
            self._watching.cancel()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            try:
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()
            except OSError:
                writer.transport.abort()


async def open_feed(keys: FeedSourceKeys, topics: Sequence[str], known: KnownPlace | None) -> FeedLink:
    """Open a link. Raises LinkBroken."""
    entry = entry_of(keys)
    try:
        link = FeedLink(entry, topics)
    except FeedError as error:
        raise LinkBroken(str(error), is_refused=True) from None
    try:
        await link.open(known)
    except BaseException as error:
        await link.close()
        if isinstance(error, FeedError):
            raise LinkBroken(str(error), is_refused=isinstance(error, LockedOut)) from None
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
