"""The instruments in answers of a listing that stand in files: beside a capture, or in the capture itself."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import structs

from aggregator.capture.line import CaptureLine
from aggregator.capture.reading import read_capture
from aggregator.errors import AggregatorError
from aggregator.exchange import Exchange, Request
from aggregator.ingest.listing import Listed, read_bodies, read_listing
from aggregator.records import Instrument


class BadCapture(AggregatorError):
    """A capture cannot be replayed; the words say why, and what to do."""


def listed_by(exchange: Exchange, bodies: Sequence[bytes], aliases: Mapping[str, str]) -> Listed:
    """The instruments in answers of today's listing, or of an archive's where that reads none.

    Raises what today's provokes, or the newest archive's where nothing is spoken today.
    """
    found: list[Listed] = []
    errors: list[Exception] = []
    for listing in exchange.listings:
        try:
            found.append(read_bodies(structs.replace(exchange, listing=listing), bodies, aliases, 0))
        except Exception as error:  # noqa: BLE001 - an answer of another time
            errors.append(error)
        if found and found[-1].instruments:
            return found[-1]
    if errors:
        raise errors[0]
    return found[0]


def listed_in(exchange: Exchange, path: Path, aliases: Mapping[str, str]) -> list[Instrument]:
    """The instruments of the listing that a capture itself holds; an archive's stands at any address.

    Raises OSError, BadCapture.
    """
    lines = (line for _, line in read_capture(path) if isinstance(line, CaptureLine) and line.dir == "rest")
    bodies = {line.address: line.payload for line in lines if not line.is_refused}

    def pages(request: Request, more: Callable[[Request, bytes], Iterable[Request]]) -> Iterator[bytes]:
        waiting = [request]
        while waiting:
            asked = waiting.pop(0)
            body = bodies.pop(asked.url, None)
            if body is not None:
                yield body
                waiting += more(asked, body)

    listing = exchange.listing
    try:
        parts = {part: list(pages(request, listing.more)) for part, request in enumerate(listing.requests)}
        details = {at: list(pages(detail.request, detail.more)) for at, detail in enumerate(listing.details)}
        heard = {part: answers for part, answers in parts.items() if answers}
        found = list(read_listing(exchange, heard, aliases, 0, details=details).instruments)
    except Exception as error:
        raise BadCapture(f"{path}: its listing cannot be read: {error}") from error
    if exchange.archives and not heard:
        for body in bodies.values():
            with suppress(Exception):  # an answer to something else
                found += listed_by(exchange, [body], aliases).instruments
    return found
