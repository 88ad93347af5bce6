"""The topics that captured frames and answers are about: the channels and raw symbols of the records that they give."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from aggregator.capture.replay import Reader, asked_for
from aggregator.exchange import Exchange, Poll, Stream
from aggregator.records import CHANNEL_OF, Record


def spoken_of(
    exchange: Exchange, heard: Iterable[tuple[str, Iterable[bytes]]], answers: Mapping[str, bytes]
) -> tuple[Counter[str], Counter[str]]:
    """How many records there are of each channel and of each raw symbol.

    heard: of each connection its address and its frames
    answers: by their addresses, those to polls and to the listing among them
    """
    channels: Counter[str] = Counter()
    symbols: Counter[str] = Counter()
    listed = list(_listed(exchange, answers)) if exchange.polls else []
    parts = [
        *(_said(exchange, url, frames) for url, frames in heard),
        *(_answered(poll, answers, listed) for poll in exchange.polls),
    ]
    for record in (record for part in parts for record in part):
        channels[CHANNEL_OF[type(record)]] += 1
        symbols[record.raw_symbol or ""] += 1
    return channels, symbols


def _said(exchange: Exchange, url: str, frames: Iterable[bytes]) -> Iterator[Record]:
    reader = Reader(exchange, [], None)
    for frame in frames:
        with suppress(Exception):  # a frame that cannot be read names no topic
            stream: Stream = reader.stream_of(url, frame)
            yield from (event for event in reader.events(stream, frame) if isinstance(event, Record))


def _answered(poll: Poll, answers: Mapping[str, bytes], listed: Sequence[str]) -> Iterator[Record]:
    """Give what the answers of a poll say; where the address does not tell the instrument, it is any that is listed."""
    for url, body in answers.items():
        raw_symbol = (
            ("" if poll.request("").url == url else None) if poll.many else asked_for(poll.request, url, listed)
        )
        if raw_symbol is not None:
            with suppress(Exception):  # likewise
                yield from poll.parse(raw_symbol, body)


def _listed(exchange: Exchange, answers: Mapping[str, bytes]) -> Iterator[str]:
    """The raw symbols of the listing that has an answer here, and of what is listed without asking."""
    yield from (instrument.raw_symbol for instrument in exchange.listing.fixed if instrument.raw_symbol)
    for request in exchange.listing.requests:
        with suppress(Exception):  # there is none, or it is an answer to something else
            rows = map(exchange.listing.read, exchange.listing.rows(answers[request.url]))
            yield from (instrument.raw_symbol for instrument in rows if instrument and instrument.raw_symbol)
