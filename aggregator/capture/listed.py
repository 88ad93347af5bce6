"""The instruments that a capture tells itself, by the answers of a listing that it holds."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from aggregator.capture.line import CaptureLine
from aggregator.capture.recorder import read_capture
from aggregator.errors import AggregatorError
from aggregator.exchange import Exchange, Request
from aggregator.ingest.listing import read_listing
from aggregator.records import Instrument


class BadCapture(AggregatorError):
    """A capture cannot be replayed; the words say why, and what to do."""


def listed_in(exchange: Exchange, path: Path, aliases: Mapping[str, str]) -> list[Instrument]:
    """The instruments of the listing that a capture itself holds. Raises OSError, BadCapture."""
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
        return list(read_listing(exchange, heard, aliases, 0, details=details).instruments)
    except Exception as error:
        raise BadCapture(f"{path}: its listing cannot be read: {error}") from error
