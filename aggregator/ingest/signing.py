"""The keys of one exchange at work: requests and frames are signed on their way out, below captures and logs.

A keyring is a network that stands between the real one and whatever listens in. What is signed exists only below it:
sessions, captures, errors and statuses know requests and frames as they were before. What comes back is looked through
for the keys, because an exchange may repeat them in an error.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import quote, quote_plus

import msgspec
from msgspec import structs

from aggregator.errors import ConfigError, SessionError
from aggregator.exchange import Address, Credentials, Keys, Request
from aggregator.ingest.credentials import KeyPlace, read_keys
from aggregator.ingest.lines import Line, LineListener
from aggregator.ingest.network import Answer, Network
from aggregator.records import SECOND_NS
from aggregator.session.moment import Now
from aggregator.session.subscriptions import Ask

DENIALS = {401, 402, 403}  # statuses that say: not with these keys
FIRST_PAUSE_S = 60.0  # keys that were refused are not shown again for so long; doubles
LONGEST_PAUSE_S = 3600.0
SHORTEST_HIDDEN = 8  # characters; a shorter value might as well be a price
SHOWN_BYTES = 200  # an error repeats so much of the exchange's words
ODD = "surrogatepass"  # bytes of a header that are no characters are passed on as they are

T = TypeVar("T")

log = logging.getLogger("aggregator.keys")


class Keyring:
    """The keys of one exchange, which sign what is to be signed."""

    def __init__(self, exchange: str, keys: Keys, places: Mapping[str, KeyPlace], network: Network) -> None:
        """Keep the places; keys are read when they are first needed. Without `places` there are none."""
        self.exchange = exchange
        self.keys = keys
        self.places = places
        self._network = network
        self._credentials: Credentials | None = None
        self._spellings: tuple[bytes, ...] = ()  # the values, in all the ways in which an exchange may repeat them
        self._until = 0  # when keys that were refused may be shown again (monotonic ns)
        self._pause = FIRST_PAUSE_S
        self._words = ""
        self._warned: set[str] = set()

    def network(self) -> Network:
        """The network, with this keyring signing."""
        return Network(self._dial, self._fetch, self._network.now)

    async def read(self) -> Credentials:
        """The keys, read once, and again after the exchange has refused them. Raises SessionError."""
        if self._credentials is None:
            try:  # in a thread: the file may be on a disk that does not answer
                found, warnings = await asyncio.to_thread(read_keys, self.exchange, self.keys, self.places)
            except ConfigError as error:
                raise SessionError(str(error).removeprefix(f"{self.exchange}: ")) from None
            for warning in warnings:
                if warning not in self._warned:
                    log.warning("%s", warning)
                self._warned.add(warning)
            self._credentials, self._spellings = found, _spellings(found)
        return self._credentials

    def deny(self, words: str) -> float:
        """Note that the exchange refuses the keys. Gives the seconds for which they are not shown again."""
        now = self._network.now().mono
        if now >= self._until:  # else it is about the same attempt as the denial before
            self._credentials, self._words = None, words
            self._until = now + int(self._pause * SECOND_NS)
            log.error(
                "%s: the exchange refuses the keys: %s; they are read and shown again in %.0f s, see %s",
                self.exchange,
                words,
                self._pause,
                self.keys.page,
            )
            self._pause = min(self._pause * 2, LONGEST_PAUSE_S)
        return (self._until - now) / SECOND_NS

    def is_fine(self) -> None:
        """Note that the exchange takes the keys."""
        self._pause = FIRST_PAUSE_S

    async def _shown(self) -> Credentials:
        """The keys, to be shown now. Raises SessionError where they cannot be, or have just been refused."""
        left = (self._until - self._network.now().mono) / SECOND_NS
        if left > 0:
            raise SessionError(f"the exchange has refused the keys: {self._words}; asked again in {left:.0f} s", left)
        return await self.read()

    async def _fetch(self, request: Request) -> Answer:
        sign = request.sign
        if sign is None:
            return await self._network.fetch(request)
        keys, now = await self._shown(), self._network.now()
        signed = structs.replace(self._signed(lambda: sign(keys, now.wall, request)), sign=None)
        try:
            answer = await self._network.fetch(signed)
        except SessionError as error:
            raise self._hidden(error, request, signed) from None
        if answer.status in DENIALS:
            self.deny(f"HTTP {answer.status}: {self._clean(answer.body)[:SHOWN_BYTES].decode(errors='replace')}")
        else:
            self.is_fine()
        headers = {name: self.clean_text(value) for name, value in answer.headers.items()}
        return Answer(answer.status, self._clean(answer.body), headers)

    async def _dial(self, address: Address, listener: LineListener) -> Line:
        sign = address.sign
        if sign is None:
            return await self._network.dial(address, listener)
        keys = await self._shown()
        line = await self._network.dial(address, _HidingListener(self, listener))

        def signed(frame: bytes) -> bytes:
            return self._signed(lambda: sign(keys, self._network.now().wall, frame))

        return _SigningLine(line, listener, signed, address.login)

    def _signed(self, sign: Callable[[], T]) -> T:
        """Sign. Raises SessionError, which says nothing of what was found: it may hold a part of a key."""
        try:
            return sign()
        except Exception as error:  # noqa: BLE001 - whatever a key of the wrong form provokes
            raise SessionError(
                f"cannot sign with its credentials ({type(error).__name__}): is each of them the right one? "
                f"See {self.keys.page}"
            ) from None

    def _hidden(self, error: SessionError, request: Request, signed: Request) -> SessionError:
        """An error of the network as it would be without keys."""
        text = str(error)
        if signed.url != request.url:
            text = text.replace(signed.url, request.url)
            query = signed.url.partition("?")[2]
            text = text.replace(query, "***") if query else text
        return SessionError(self.clean_text(text), error.wait, is_busy=error.is_busy)

    def clean_text(self, text: str) -> str:
        """A text without the keys."""
        return self._clean(text.encode(errors=ODD)).decode(errors=ODD)

    def clean_frames(self, payloads: list[bytes]) -> list[bytes]:
        """Frames without the keys; they are the very same, unless one holds some."""
        for spelling in self._spellings:
            if any(spelling in payload for payload in payloads):
                return [self._clean(payload) for payload in payloads]
        return payloads

    def _clean(self, payload: bytes) -> bytes:
        for spelling in self._spellings:
            if spelling in payload:
                payload = payload.replace(spelling, b"***")
        return payload


class _HidingListener:
    """A listener that never hears a key, whatever the exchange repeats."""

    def __init__(self, ring: Keyring, listener: LineListener) -> None:
        self._ring = ring
        self._listener = listener

    @property
    def name(self) -> str:
        """The name of the line: that of its session's connection."""
        return self._listener.name

    def frames(self, payloads: list[bytes], now: Now) -> None:
        self._listener.frames(self._ring.clean_frames(payloads), now)

    def gone(self, reason: str) -> None:
        self._listener.gone(self._ring.clean_text(reason))


class _SigningLine:
    """A line that signs what is to be signed as it leaves."""

    def __init__(self, line: Line, listener: LineListener, sign: Callable[[bytes], bytes], login: bytes | None) -> None:
        self._line = line
        self._listener = listener
        self._sign = sign
        self._login = login

    def send(self, frame: bytes) -> None:
        is_to_sign = isinstance(frame, Ask) if self._login is None else frame == self._login
        if is_to_sign:
            try:
                frame = self._sign(frame)
            except SessionError as error:
                self._listener.gone(str(error))
                return
        self._line.send(frame)

    def hang_up(self, reason: str) -> None:
        self._line.hang_up(reason)


def _spellings(keys: Credentials) -> tuple[bytes, ...]:
    """The values as they may stand in an answer: as they are, in JSON, in an address; the longest first."""
    found: set[str] = set()
    for value in keys.values():
        if len(value) >= SHORTEST_HIDDEN:
            written = msgspec.json.encode(value).decode()[1:-1]
            found |= {value, quote(value, safe=""), quote_plus(value), written, written.replace("/", "\\/")}
    return tuple(spelling.encode() for spelling in sorted(found, key=len, reverse=True))
