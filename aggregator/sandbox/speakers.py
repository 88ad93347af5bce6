"""Who speaks on a tape: the exchanges, all addresses a daemon would look for them at, and what they speak of."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from msgspec import Struct

from aggregator.exchange import Exchange, Poll, Since, Stream
from aggregator.records import CHANNEL_OF, Channel, Record
from aggregator.registry import connector_ids, load_exchange
from aggregator.replay import ANY, Reader, asked_for
from aggregator.sandbox.playback import Recorded, Tape

ENOUGH = 2_000  # frames of a connection that tell what it speaks of


class Speaker(Struct, frozen=True):
    """One exchange on a tape.

    addresses: scheme and host of all that it declares, recorded or not, so that nothing leaves the machine
    channels, symbols: of which the tape has records; raw symbols, those with the most records first
    """

    id: str
    addresses: list[str]
    channels: list[Channel]
    symbols: list[str]


def speakers(tape: Tape) -> list[Speaker]:
    """Every exchange with a connector that has a connection or a polled answer on the tape."""
    recorded = {origin(connection.url) for connection in tape.connections} | {origin(url) for url in tape.answers}
    found = []
    for id in connector_ids():
        exchange = load_exchange(id)
        if exchange is None or recorded.isdisjoint(own := origins(exchange, tape.answers)):
            continue
        channels, symbols = spoken_of(exchange, tape, own)
        if channels:
            offered = [channel for channel in exchange.channels if channel in channels]
            found.append(Speaker(id, own, offered, [name for name, _ in symbols.most_common() if name]))
    return found


def origin(url: str) -> str:
    """Scheme and host."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def origins(exchange: Exchange, answers: Mapping[str, tuple[int, bytes]]) -> list[str]:
    """Scheme and host of every address that an exchange declares, or is given for a ticket by these answers."""
    return list(dict.fromkeys(origin(url) for url in _addresses(exchange, answers)))


def _addresses(exchange: Exchange, answers: Mapping[str, tuple[int, bytes]]) -> Iterator[str]:
    yield from (request.url for request in exchange.listing.requests)
    yield from (poll.request(ANY).url for poll in exchange.polls)
    for stream in exchange.streams:
        if stream.ticket is None:
            yield stream.url if isinstance(stream.url, str) else stream.url(())
        else:
            yield stream.ticket.request.url
            with suppress(Exception):  # whatever the tape holds at that address
                yield stream.ticket.read(answers[stream.ticket.request.url][1])
        yield from stream.mirrors
        if stream.snapshot is not None and stream.snapshot.request is not None:
            yield stream.snapshot.request(ANY).url
        if stream.backfill is not None:
            yield stream.backfill.request(ANY, Since(None, 0)).url


def spoken_of(exchange: Exchange, tape: Tape, own: Iterable[str]) -> tuple[Counter[Channel], Counter[str]]:
    """Channels and raw symbols of the records that an exchange's part of the tape gives."""
    channels: Counter[Channel] = Counter()
    symbols: Counter[str] = Counter()
    addresses = set(own)
    records = [_said(exchange, heard) for heard in tape.connections if origin(heard.url) in addresses]
    records += [_answered(poll, tape) for poll in exchange.polls]
    for record in (record for part in records for record in part):
        channels[CHANNEL_OF[type(record)]] += 1
        symbols[record.raw_symbol or ""] += 1
    return channels, symbols


def _said(exchange: Exchange, heard: Recorded) -> Iterator[Record]:
    reader = Reader(exchange, [], None)
    for _, frame, _ in heard.frames[:ENOUGH]:
        with suppress(Exception):  # what cannot be read speaks of nothing
            stream: Stream = reader.stream_of(heard.url, frame)
            yield from (event for event in reader.events(stream, frame) if isinstance(event, Record))


def _answered(poll: Poll, tape: Tape) -> Iterator[Record]:
    for url, (_, body) in tape.answers.items():
        raw_symbol = "" if poll.many and poll.request("").url == url else asked_for(poll.request, url, ())
        if raw_symbol is not None:
            with suppress(Exception):  # likewise
                yield from poll.parse(raw_symbol, body)
