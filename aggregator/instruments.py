"""The instruments of an exchange: fetched from its listing, cached on disk, chosen by a configuration's patterns."""

import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from aggregator.errors import SessionError
from aggregator.exchange import Exchange, Listing, Request
from aggregator.records import Instrument
from aggregator.symbols import Aliases, matches, name_all

MOST_PAGES = 100  # of one listing request
CLOSED = {"delisted", "halt"}  # a pattern leaves these out; a name asks for them all the same


class Cache(Struct, frozen=True):
    """What stands on disk: when the listing was had (ns), and the instruments."""

    ts: int
    instruments: list[Instrument]


class Listed(Struct, frozen=True):
    """An exchange's instruments.

    warnings: rows that could not be read, names taken twice, requests that were not answered
    whole: whether every request was answered
    """

    ts: int
    instruments: tuple[Instrument, ...]
    warnings: tuple[str, ...] = ()
    whole: bool = True


def read_listing(exchange: Exchange, bodies: Sequence[bytes], aliases: Aliases, ts: int) -> Listed:
    """The instruments in a listing's answers, named; a row that cannot be read is skipped and named.

    Raises msgspec's errors (or whatever the connector's `rows` raises) when an answer as a whole cannot be read.
    """
    found: list[Instrument] = list(map(_copy, exchange.listing.fixed))
    known = {_key(instrument) for instrument in found}
    warnings: list[str] = []
    for body in bodies:
        for row in exchange.listing.rows(body):
            try:
                instrument = exchange.listing.read(row)
            except Exception as error:  # noqa: BLE001 - one odd instrument takes no other down with it
                warnings.append(f"{exchange.id}: skipped an instrument: {error}: {bytes(row)[:160]!r}")
                continue
            if instrument is not None and _key(instrument) not in known:
                known.add(_key(instrument))
                found.append(instrument)
    named, taken = name_all(found, aliases)
    for instrument in named:
        instrument.exchange, instrument.source, instrument.ts_recv = exchange.id, "rest", ts
        instrument.valid_from = instrument.valid_from or ts
    return Listed(ts, tuple(named), tuple(warnings + [f"{exchange.id}: {text}" for text in taken]))


def _copy(instrument: Instrument) -> Instrument:
    return msgspec.structs.replace(instrument)


async def fetch_listing(
    exchange: Exchange, fetch: Callable[[Request], Awaitable[bytes]], aliases: Aliases, now: Callable[[], int]
) -> Listed:
    """Ask the exchange for its instruments; of several requests some may stay without an answer.

    Raises SessionError when none is answered, or not readably.
    """
    bodies: list[bytes] = []
    failures: list[str] = []
    for request in exchange.listing.requests:
        try:
            bodies += await _pages(exchange.listing, request, fetch)
        except SessionError as error:
            failures.append(f"{exchange.id}: a part of the listing is missing: {error}")
            if len(failures) == len(exchange.listing.requests):
                raise
    try:
        listed = read_listing(exchange, bodies, aliases, now())
    except Exception as error:
        raise SessionError(f"{exchange.id}: its listing cannot be read: {error}") from error
    if not listed.instruments:
        raise SessionError(f"{exchange.id}: its listing holds no instrument")
    return msgspec.structs.replace(listed, warnings=(*failures, *listed.warnings), whole=not failures)


async def _pages(listing: Listing, request: Request, fetch: Callable[[Request], Awaitable[bytes]]) -> list[bytes]:
    """Every page that begins with this request. Raises SessionError when one is not had, or there is no end."""
    bodies: list[bytes] = []
    page: Request | None = request
    while page is not None:
        if len(bodies) == MOST_PAGES:
            raise SessionError(f"{request.url}: more than {MOST_PAGES} pages")
        bodies.append(await fetch(page))
        try:
            page = listing.more(page, bodies[-1])
        except Exception as error:
            raise SessionError(f"{request.url}: its page {len(bodies)} cannot be read: {error}") from error
    return bodies


def completed(listed: Listed, before: Listed | None) -> Listed:
    """A listing of which a part is missing, with what was known of that part before."""
    if listed.whole or before is None:
        return listed
    known = {_key(instrument) for instrument in listed.instruments}
    kept = [instrument for instrument in before.instruments if _key(instrument) not in known]
    return msgspec.structs.replace(listed, instruments=(*listed.instruments, *kept))


def changes(before: Sequence[Instrument], after: Sequence[Instrument]) -> list[Instrument]:
    """What a later listing says anew: instruments that are new, that differ, and that are gone."""
    known = {_key(instrument): instrument for instrument in before}
    listed = {_key(instrument) for instrument in after}
    found = []
    for instrument in after:
        old = known.get(_key(instrument))
        if old is None:
            found.append(instrument)
        elif _figures(old) != _figures(instrument):
            found.append(msgspec.structs.replace(instrument, change="update"))
    gone = [old for old in before if _key(old) not in listed and old.state != "delisted"]
    return found + [msgspec.structs.replace(old, change="delist", state="delisted") for old in gone]


def _key(instrument: Instrument) -> tuple[str | None, str, bool | None]:
    """What tells instruments of one exchange apart: its spot and its contracts may have one name."""
    return instrument.raw_symbol, instrument.kind, instrument.linear


def _figures(instrument: Instrument) -> Instrument:
    """What an exchange says of an instrument, without when it was heard."""
    return msgspec.structs.replace(
        instrument, ts_recv=0, valid_from=None, change="new", offset=0, source="rest", flags=None
    )


def save(listed: Listed, path: Path) -> None:
    """Write a cache, whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(Cache(listed.ts, list(listed.instruments))))
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def load(path: Path) -> Listed | None:
    """Read a cache; None where there is none that can be read."""
    try:
        cache = msgspec.json.decode(path.read_bytes(), type=Cache)
    except (OSError, msgspec.MsgspecError):
        return None
    return Listed(cache.ts, tuple(cache.instruments))


def choose(instruments: Sequence[Instrument], patterns: Sequence[str]) -> tuple[list[Instrument], list[str]]:
    """The instruments that some pattern names, and the patterns that name none."""
    chosen: dict[int, Instrument] = {}
    idle: list[str] = []
    for pattern in patterns:
        found = [instrument for instrument in instruments if matches(pattern, instrument)]
        if "*" in pattern:
            found = [instrument for instrument in found if instrument.state not in CLOSED]
        if not found:
            idle.append(pattern)
        chosen.update((id(instrument), instrument) for instrument in found)
    return list(chosen.values()), idle
