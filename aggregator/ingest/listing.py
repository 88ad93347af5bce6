"""The instruments of an exchange: fetched from its listing, cached on disk, chosen by a configuration's patterns."""

import asyncio
import codecs
import re
from collections import deque
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Raw, Struct, structs

from aggregator.errors import BadFrame, SessionError, nearest
from aggregator.exchange import Details, Exchange, Request
from aggregator.ingest import state
from aggregator.ingest.bounds import MOST_INSTRUMENTS
from aggregator.ingest.status import ListingStatus
from aggregator.ingest.symbols import Aliases, matches, name_all
from aggregator.ingest.weight import Weight
from aggregator.records import Instrument, MarketState, Record

MOST_UNREADABLE = 100  # rows that are named one by one
LONGEST_NAME = 256  # characters: it is part of every record, and of the names of files
MOST_PAGES = 100  # so many for one request of a listing
MOST_FAILED = 5  # requests of one part in a row that fail: what is left of the part is not asked for
PIECE = 200  # instruments that are encoded at once
STEP = 500  # after so many instruments or patterns others may have their turn
DECODED_BYTES = 2**20  # a text is decoded in pieces of this size
FIXED = -1  # the part of instruments that the connector itself names
UNTOLD = -2  # the part of instruments of which it is not known: none of them is gone before a listing names its part

Life = Literal["announced", "pre-open", "trading", "halted", "gone"]
LIFE: Mapping[MarketState, Life] = {
    "pre_open": "pre-open",
    "trading": "trading",
    "post_only": "trading",
    "reduce_only": "trading",
    "cancel_only": "trading",
    "unknown": "trading",
    "halt": "halted",
    "maintenance": "halted",
    "settling": "halted",
    "delisted": "gone",
}
BY_PATTERN: Mapping[Life, bool | None] = {  # True: a pattern asks for it; None: it is kept if it is followed already
    "announced": False,
    "pre-open": True,
    "trading": True,
    "halted": None,
    "gone": False,
}


OPEN = tuple(  # the fields that a listing may leave open, and that other answers complete
    field.name
    for field in structs.fields(Instrument)
    if field.default is None and field.name not in Record.__struct_fields__ and field.name != "valid_from"
)

TEXTS = ("base", "quote", "settle", "contract_size", "tick_size", "lot_size", "min_size", "max_size", "min_notional",
         "strike", "index")  # fields that many instruments share  # fmt: skip

decode_row = msgspec.json.Decoder(dict[str, Raw]).decode
NO_CHARACTER = "\ufffd"  # stands in a text for what is none
ESCAPE = re.compile(  # an escape in JSON; the group is half of a surrogate pair
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)
Pages = Sequence[bytes]  # the answers to one request of a listing and to those that followed from it
Identity = tuple[str | None, str, bool | None]


class Cache(Struct, frozen=True):
    """The cache on disk: when the listing was read (ns), the part that each instrument belongs to, and these.

    answered, is_complete: as `Listed` has them, where the cache is one answer, and not what is in force
    """

    ts: int
    parts: list[int] = []
    answered: list[int] = []
    is_complete: bool = True
    version: int = state.VERSION
    instruments: list[Instrument] = []


class Listed(Struct, frozen=True):
    """The instruments that an exchange listed at one moment.

    parts: for each instrument, which request of the listing gave it
    answered: the requests that were answered as a whole, by their place in the declaration
    warnings: rows that could not be read, states that are not known, names taken twice, requests that were not answered
    is_complete: whether all that completes the instruments was answered, and could be read
    missing: warnings that a request was not answered -> which one, whatever its answer was
    """

    ts: int
    instruments: tuple[Instrument, ...]
    parts: tuple[int, ...]
    answered: frozenset[int]
    warnings: tuple[str, ...] = ()
    is_complete: bool = True
    missing: Mapping[str, str] = {}


def read_listing(
    exchange: Exchange,
    parts: Mapping[int, Pages],
    aliases: Aliases,
    ts: int,
    most: int = MOST_INSTRUMENTS,
    details: Mapping[int, Pages] | None = None,
) -> Listed:
    """The instruments in a listing's answers, named; a row that cannot be read is skipped and named.

    parts: place of a request in the declaration -> its answers
    details: place in the listing's `details` -> its answers
    most: instruments that are read; how many rows are left unread is one of the warnings
    Raises SessionError where no part can be read.
    """
    reading = _Reading(exchange, most)
    unread: dict[int, list[str]] = {}
    for part, pages in parts.items():
        for body in pages:
            try:
                rows = list(exchange.listing.rows(legible(body)))
            except Exception as error:  # noqa: BLE001 - whatever an odd answer provokes, it is one answer that is missing
                unread.setdefault(part, []).append(f"{exchange.id}: a part of the listing cannot be read: {error}")
                continue
            reading.read(part, rows)
    said = [words for found in unread.values() for words in found]
    if said and len(said) == sum(map(len, parts.values())):
        raise SessionError(said[0].removeprefix(f"{exchange.id}: "))
    odd = _complete_all(exchange, reading.found, details or {})
    instruments, taken = name_all(reading.found, aliases)
    for instrument in instruments:
        instrument.exchange, instrument.source, instrument.ts_recv = exchange.id, "rest", ts
        instrument.valid_from = instrument.valid_from or ts
    of = tuple(reading.part_of[identity(instrument)] for instrument in instruments)
    warnings = (*said, *reading.warnings(), *(f"{exchange.id}: {text}" for text in (*odd, *taken)))
    is_complete = not odd and len(details or {}) == len(exchange.listing.details)
    return Listed(
        ts, tuple(instruments), of, frozenset(parts.keys() - unread.keys() - reading.cut), warnings, is_complete
    )


class _Reading:
    """The rows of a listing, read one by one: each instrument once, and no more than are allowed."""

    def __init__(self, exchange: Exchange, most: int) -> None:
        self.found: list[Instrument] = [structs.replace(instrument) for instrument in exchange.listing.fixed]
        self.part_of: dict[Identity, int] = {identity(instrument): FIXED for instrument in self.found}
        self.cut: set[int] = set()  # parts of which rows were left out: who is missing from them is not gone
        self._exchange = exchange
        self._most = most
        self._left_out = 0
        self._unreadable = 0
        self._odd: list[str] = []
        self._texts: dict[str, str] = {}
        self._unknown: dict[str, list[str]] = {}  # words of states -> the markets that have them

    def read(self, part: int, rows: Sequence[Raw]) -> None:
        """Read the rows of one part."""
        for at, row in enumerate(rows):
            if len(self.found) >= self._most:
                self._left_out += len(rows) - at
                self.cut.add(part)
                return
            try:
                instrument = named(self._exchange.listing.read(row))
            except Exception as error:  # noqa: BLE001 - one odd instrument takes no other down with it
                self._unreadable += 1
                if self._unreadable <= MOST_UNREADABLE:
                    self._odd.append(f"skipped an instrument: {error}: {bytes(row)[:160]!r}")
                continue
            if instrument is not None and identity(instrument) not in self.part_of:
                self._share(instrument)
                self.part_of[identity(instrument)] = part
                self.found.append(instrument)
                if instrument.state == "unknown":
                    word = _word(row, self._exchange.listing.state)
                    self._unknown.setdefault(word, []).append(instrument.raw_symbol or "")

    def _share(self, instrument: Instrument) -> None:
        """Keep one of equal texts: thousands of instruments have the same assets and steps."""
        for name in TEXTS:
            text = getattr(instrument, name)
            if type(text) is str:
                setattr(instrument, name, self._texts.setdefault(text, text))

    def warnings(self) -> list[str]:
        """Say what was left out, and why."""
        said = list(self._odd)
        if self._unreadable > MOST_UNREADABLE:
            said.append(f"skipped {self._unreadable - MOST_UNREADABLE} more that cannot be read")
        if self._left_out:
            said.append(f"{self._left_out} rows are left out: max_instruments is {self._most}")
        said += map(_of_no_known_state, self._unknown, self._unknown.values())
        return [f"{self._exchange.id}: {text}" for text in said]


def _complete_all(exchange: Exchange, found: Sequence[Instrument], details: Mapping[int, Pages]) -> list[str]:
    """Complete the instruments that were found from these answers. Gives their unreadable rows, in words."""
    odd: list[str] = []
    known = {(instrument.raw_symbol, instrument.kind): instrument for instrument in found}
    for place, pages in details.items():
        detail = exchange.listing.details[place]
        try:
            rows = [row for body in pages for row in detail.rows(legible(body))]
        except Exception as error:  # noqa: BLE001 - whatever an odd answer provokes, it only leaves instruments as they are
            odd.append(f"what completes the listing cannot be read: {error}")
            continue
        unread: list[str] = []
        for row in rows:
            try:
                said = detail.read(row)
            except Exception as error:  # noqa: BLE001 - likewise
                unread.append(f"{error}: {bytes(row)[:160]!r}")
                continue
            instrument = None if said is None else known.get((said.raw_symbol, said.kind))
            if instrument is not None and said is not None:
                complete(instrument, said)
        if unread:
            odd.append(f"skipped {len(unread)} of {len(rows)} rows that complete the listing: {unread[0]}")
    return odd


def complete(instrument: Instrument, said: Instrument) -> None:
    """Fill the fields that an instrument leaves open from another answer about it."""
    for name in OPEN:
        if getattr(instrument, name) is None:
            setattr(instrument, name, getattr(said, name))


def completes(detail: Details, body: bytes) -> bool:
    """Tell whether an answer is one of these details, and not of the listing itself."""
    try:
        return any(detail.read(row) is not None for row in detail.rows(body))
    except Exception:  # noqa: BLE001 - an answer to something else
        return False


def named(instrument: Instrument | None) -> Instrument | None:
    """An instrument that can be asked for and told by its name. Raises BadFrame where it cannot."""
    if instrument is not None:
        name = instrument.raw_symbol or ""
        if not name.strip() or not name.isprintable() or NO_CHARACTER in name or len(name) > LONGEST_NAME:
            raise BadFrame(f"{name[:LONGEST_NAME]!r} is no name")
    return instrument


def legible(body: bytes) -> bytes:
    """An answer with its broken characters replaced: a single bad name would make all of it unreadable."""
    if not body.isascii():
        try:
            for _ in _decoded(body, "strict"):
                pass
        except UnicodeDecodeError:
            body = b"".join(text.encode() for text in _decoded(body, "replace"))
    if b"\\" not in body:
        return body
    return ESCAPE.sub(_paired, body) if b"\\ud" in body or b"\\uD" in body else body


def _decoded(body: bytes, errors: str) -> Iterator[str]:
    """An answer's text, piece by piece: as a whole it may take four times its bytes. Raises UnicodeDecodeError."""
    decode = codecs.getincrementaldecoder("utf-8")(errors).decode
    for at in range(0, len(body), DECODED_BYTES):
        yield decode(body[at : at + DECODED_BYTES], at + DECODED_BYTES >= len(body))


def _paired(escape: re.Match[bytes]) -> bytes:
    return escape[0] if escape[1] is None else b"\\ufffd"


def _word(row: Raw, names: Sequence[str]) -> str:
    """The state that a row gives its instrument, under the first of these names that the row has."""
    try:
        said = decode_row(row)
    except msgspec.MsgspecError:
        return ""
    return next((bytes(said[name]).decode().strip('"') for name in names if name in said), "")


def _of_no_known_state(word: str, raw_symbols: Sequence[str]) -> str:
    more = f" and {len(raw_symbols) - 1} more" if len(raw_symbols) > 1 else ""
    return f"{word!r} is no state that is known: {raw_symbols[0]}{more} may trade or not"


def read_bodies(exchange: Exchange, bodies: Sequence[bytes], aliases: Aliases, ts: int) -> Listed:
    """The instruments in answers whose requests are not known. Raises SessionError as above."""
    details: dict[int, list[bytes]] = {}
    listed: list[bytes] = []
    for body in map(legible, bodies):
        place = next((at for at, it in enumerate(exchange.listing.details) if completes(it, body)), None)
        (listed if place is None else details.setdefault(place, [])).append(body)
    return read_listing(exchange, {part: [body] for part, body in enumerate(listed)}, aliases, ts, details=details)


async def fetch_listing(
    exchange: Exchange,
    fetch: Callable[[Request], Awaitable[bytes]],
    aliases: Aliases,
    now: Callable[[], int],
    most: int = MOST_INSTRUMENTS,
) -> Listed:
    """Ask the exchange for its instruments; some of several requests may stay without an answer.

    What follows from a request (a page, or the list of one asset) fails on its own: the rest is taken, and the part
    counts as one that was not answered. The answers are read in another thread: frames do not wait for them.

    Raises SessionError when no request has a readable answer, and at once when the exchange is asked too much. A
    listing whose details are missing is a listing all the same, though not a complete one.
    """
    weight = Weight()

    async def within(request: Request) -> bytes:
        body = b"" if weight.excess else await fetch(request)
        weight.add(body)
        if weight.excess:
            raise SessionError(f"{request.url}: all answers of the listing together are {weight.excess}")
        return body

    listing = exchange.listing
    parts = _Answers(f"{exchange.id}: a part of the listing is missing", "part", within)
    for part, request in enumerate(listing.requests):
        error = await parts.ask(part, request, listing.more)
        if error is not None and (error.is_busy or (not parts.pages and part + 1 == len(listing.requests))):
            raise error
    details = _Answers(f"{exchange.id}: what completes the listing is missing", "details", within)
    for place, detail in enumerate(listing.details):
        error = await details.ask(place, detail.request, detail.more)
        if error is not None and error.is_busy:
            break
    listed = await asyncio.to_thread(read_listing, exchange, parts.pages, aliases, now(), most, details.pages)
    if not listed.instruments:
        raise SessionError(f"{exchange.id}: its listing holds no instrument")
    missing = parts.missing | details.missing
    return structs.replace(
        listed,
        answered=listed.answered - parts.short,
        warnings=(*missing, *listed.warnings),
        is_complete=listed.is_complete and not details.short,
        missing=missing,
    )


class _Answers:
    """The answers to the requests of a listing, or to those that complete it.

    pages: place of a request in the declaration -> its answers, and those to what followed from it
    short: the places where something that followed was not had
    missing: warnings that something was not had -> the request
    """

    def __init__(self, words: str, name: str, fetch: Callable[[Request], Awaitable[bytes]]) -> None:
        """Begin without answers; `words` say that one is missing, and `name` is what a place is called."""
        self.pages: dict[int, Pages] = {}
        self.short: set[int] = set()
        self.missing: dict[str, str] = {}
        self._words = words
        self._name = name
        self._fetch = fetch

    async def ask(
        self, place: int, request: Request, more: Callable[[Request, bytes], Iterable[Request]]
    ) -> SessionError | None:
        """Make a request, and all that follow from it. Gives the error where it has no answer."""
        try:
            self.pages[place], failed = await _pages(request, more, self._fetch)
        except SessionError as error:
            self._miss(error.brief if error.is_busy else str(error), f"{self._name} {place}")
            return error
        for url, words in failed.items():
            self.short.add(place)
            self._miss(words, f"{self._name} {place}: {url}")
        return None

    def _miss(self, words: str, what: str) -> None:
        self.missing[f"{self._words}: {words}"] = what


async def _pages(
    request: Request,
    more: Callable[[Request, bytes], Iterable[Request]],
    fetch: Callable[[Request], Awaitable[bytes]],
) -> tuple[list[bytes], dict[str, str]]:
    """The answers that begin with this request, and the addresses of those that are not had, each with the reason.

    Raises SessionError when the first is not had, the exchange is asked too much, or there is no end.
    """
    bodies: list[bytes] = []
    failed: dict[str, str] = {}
    in_a_row = 0
    waiting = deque([request])
    while waiting and in_a_row < MOST_FAILED:
        if len(bodies) == MOST_PAGES:
            raise SessionError(f"{request.url}: more than {MOST_PAGES} pages")
        page = waiting.popleft()
        try:
            body, others = await asyncio.to_thread(_read_page, page, await fetch(page), more)
        except SessionError as error:
            if error.is_busy or not bodies:
                raise
            failed[page.url] = str(error)
            in_a_row += 1
            continue
        in_a_row = 0
        bodies.append(body)
        waiting.extend(others)
    if waiting:
        failed[request.url] = (
            f"{request.url}: {len(waiting)} more are not asked for, after {MOST_FAILED} failures in a row"
        )
    return bodies, failed


def _read_page(
    page: Request, body: bytes, more: Callable[[Request, bytes], Iterable[Request]]
) -> tuple[bytes, list[Request]]:
    """An answer made legible, and what follows from it. Raises SessionError where it cannot be read."""
    body = legible(body)
    try:
        return body, list(islice(more(page, body), MOST_PAGES))
    except Exception as error:
        raise SessionError(f"{page.url}: its answer cannot be read: {error}") from error


class Markets:
    """The markets of one exchange, over one listing after another: what is new, what differs, and what is gone.

    A market is gone when the exchange says so, or when two good answers in a row have not named it: one alone may be a
    fault of the exchange's. Where a part of a listing failed, its markets stay as they were; where what completes it
    did, a market keeps what was known of it.
    """

    def __init__(self, listed: Listed) -> None:
        """Begin with these listed instruments."""
        self._known = {identity(i): (i, part) for i, part in zip(listed.instruments, listed.parts, strict=True)}
        self._missing: set[Identity] = set()
        self._ts = listed.ts

    @property
    def instruments(self) -> list[Instrument]:
        """The instruments that are in force."""
        return [instrument for instrument, _ in self._known.values()]

    @property
    def listed(self) -> tuple[tuple[Instrument, ...], tuple[int, ...]]:
        """The instruments in force, each with the request of the listing that gave it."""
        return tuple(i for i, _ in self._known.values()), tuple(part for _, part in self._known.values())

    def lists(self, key: Identity) -> bool:
        """Tell whether an instrument is in force."""
        return key in self._known

    def status(self) -> ListingStatus:
        """How many instruments there are, and how old that knowledge is."""
        return ListingStatus(ts=self._ts, instruments=len(self._known), missing=len(self._missing))

    def update(self, listed: Listed) -> list[Instrument]:
        """Take a later listing. Gives its changes as records."""
        self._ts = listed.ts
        found: list[Instrument] = []
        fresh = {identity(i): (i, part) for i, part in zip(listed.instruments, listed.parts, strict=True)}
        for key, (instrument, part) in fresh.items():
            old = self._known.get(key)
            if old is not None and not listed.is_complete:
                complete(instrument, old[0])
            if old is not None and _figures(old[0]) == _figures(instrument):
                self._known[key] = (old[0], part)
                continue
            self._known[key] = (instrument, part)
            if old is not None:
                found.append(structs.replace(instrument, change=_change(old[0], instrument)))
            elif instrument.state != "delisted":
                found.append(instrument)
        absent = {key for key, (_, part) in self._known.items() if key not in fresh and part in listed.answered}
        for key in absent & self._missing:
            instrument, _ = self._known.pop(key)
            if instrument.state != "delisted":
                found.append(structs.replace(instrument, change="delist", state="delisted", ts_recv=listed.ts))
        self._missing = (self._missing - fresh.keys() | absent) & self._known.keys()
        return found


def _change(old: Instrument, new: Instrument) -> Literal["new", "update", "delist"]:
    if new.state == "delisted":
        return "delist"
    return "new" if old.state == "delisted" else "update"


def identity(instrument: Instrument) -> Identity:
    """The key of an instrument within its exchange, whose spot and contracts may share a name."""
    return instrument.raw_symbol, instrument.kind, instrument.linear


def _figures(instrument: Instrument) -> Instrument:
    """The figures of an instrument, without the time at which they came."""
    return structs.replace(instrument, ts_recv=0, valid_from=None, change="new", offset=0, source="rest", flags=None)


def save(listed: Listed, path: Path) -> None:
    """Write a cache, whole or not at all. Raises OSError."""
    encode, instruments = msgspec.json.Encoder().encode, listed.instruments
    cache = Cache(listed.ts, list(listed.parts), sorted(listed.answered), listed.is_complete)
    pieces = (encode(instruments[at : at + PIECE])[1:-1] for at in range(0, len(instruments), PIECE))
    state.write(path, state.listed(encode(cache), pieces))


def load(path: Path) -> Listed | None:
    """Read a cache; None where there is none that can be read."""
    try:
        blob = state.read(path)
        cache = None if blob is None or state.is_newer(path, blob) else msgspec.json.decode(blob, type=Cache)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if cache is None:
        return None
    parts = cache.parts or [UNTOLD] * len(cache.instruments)  # the parts stand there since the autumn of 2026
    if len(parts) != len(cache.instruments):
        return None
    answered = frozenset(cache.answered)
    return Listed(cache.ts, tuple(cache.instruments), tuple(parts), answered, is_complete=cache.is_complete)


def life(instrument: Instrument, now: int) -> Life:
    """Where an instrument stands in its life; `now` in ns. Before its day of listing it is only announced."""
    found = LIFE[instrument.state]
    if found == "pre-open" and instrument.ts_listed is not None and instrument.ts_listed > now:
        return "announced"
    return found


class ChosenMarkets(Struct, frozen=True):
    """The outcome of patterns.

    instruments: those that some pattern asks for
    waiting: those that one fits and none asks for as they are now
    idle: the patterns that ask for none; unlisted: those that fit none
    """

    instruments: list[Instrument]
    waiting: list[Instrument]
    idle: list[str]
    unlisted: list[str]


def choosing(
    instruments: Sequence[Instrument], patterns: Sequence[str], followed: Collection[Identity] = (), now: int = 0
) -> Generator[None, None, ChosenMarkets]:
    """Find what patterns ask for, in steps, between which others may have their turn.

    A pattern asks for what trades or soon will, and keeps what is halted and `followed` already; a full name asks for
    whatever is listed.
    """
    chosen: dict[int, Instrument] = {}
    waiting: dict[int, Instrument] = {}
    idle: list[str] = []
    unlisted: list[str] = []
    named = (yield from _by_name(instruments)) if any("*" not in pattern for pattern in patterns) else {}
    for pattern in patterns:
        is_idle = is_unlisted = True
        looked_at = instruments if "*" in pattern else named.get(pattern, [])
        for start in range(0, len(looked_at), STEP):
            for instrument in looked_at[start : start + STEP]:
                if "*" not in pattern or (pattern == "*" or matches(pattern, instrument)):
                    is_unlisted = False
                    if "*" not in pattern or _by_pattern(instrument, followed, now):
                        chosen[id(instrument)] = instrument
                        is_idle = False
                    else:
                        waiting[id(instrument)] = instrument
            yield
        if is_idle:
            idle.append(pattern)
        if is_unlisted:
            unlisted.append(pattern)
    return ChosenMarkets(
        list(chosen.values()), [one for name, one in waiting.items() if name not in chosen], idle, unlisted
    )


def _by_name(instruments: Sequence[Instrument]) -> Generator[None, None, dict[str, list[Instrument]]]:
    """Find what each full name means: a name for each of many patterns would be looked for too long."""
    found: dict[str, list[Instrument]] = {}
    for at, instrument in enumerate(instruments, 1):
        for name in {instrument.symbol, instrument.raw_symbol}:
            if name is not None:
                found.setdefault(name, []).append(instrument)
        if at % STEP == 0:
            yield
    return found


def letting_go(known: dict[Identity, None] | dict[Identity, Instrument]) -> Iterator[None]:
    """Free in steps what is kept of many instruments: at once that would hold the loop for longer than all the rest."""
    while known:
        for _ in range(min(len(known), STEP)):
            known.popitem()
        yield


def suggest(name: str, instruments: Sequence[Instrument]) -> str | None:
    """The unified symbol that was probably meant by a name that fits none; None where nothing is like it."""
    names = {
        known.casefold(): i.symbol or known
        for i in instruments
        for known in (i.raw_symbol, i.symbol)
        if known is not None
    }
    by_letters = {letters(known): symbol for known, symbol in names.items()}
    near = by_letters.get(letters(name.casefold()))
    return near or names.get(nearest(name, names) or "")


def letters(name: str) -> str:
    """A name without punctuation: BTC-USDT, BTC/USDT and BTCUSDT become one."""
    return "".join(filter(str.isalnum, name))


def _by_pattern(instrument: Instrument, followed: Collection[Identity], now: int) -> bool:
    asks = BY_PATTERN[life(instrument, now)]
    return identity(instrument) in followed if asks is None else asks
