"""The exchanges that a tape holds, the addresses where a daemon would look for them, and their topics."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from msgspec import Struct

from aggregator.capture.tape import Tape
from aggregator.capture.topics import spoken_of
from aggregator.exchange import ANY, Exchange, Request, Since, Ticket
from aggregator.ingest.listing import completes

ENOUGH = 2_000  # frames of a connection that tell what it speaks of


class Speaker(Struct, frozen=True):
    """One exchange on a tape.

    hosts: scheme and host of all that it declares, recorded or not, so that nothing leaves the machine; to that of
        what is recorded in its place
    answers: what its listing and its tickets are answered by, where the tape has that under other addresses
    channels, symbols: of which the tape has records; raw symbols, those with the most records first
    """

    id: str
    hosts: dict[str, str]
    answers: dict[str, bytes]
    channels: list[str]
    symbols: list[str]


def speakers(tape: Tape, exchanges: Iterable[Exchange]) -> list[Speaker]:
    """Each of these exchanges that the tape has something of: at its addresses, or in a folder of its id."""
    found = (_speaker(exchange, tape) for exchange in exchanges)
    return [speaker for speaker in found if speaker is not None]


def _speaker(exchange: Exchange, tape: Tape) -> Speaker | None:
    recorded_answers = {url: body for url, (_, body) in tape.answers.items()}
    answers = dict(_borrowed(exchange, tape))
    own = origins(exchange, answers | recorded_answers)
    names = {urlsplit(host).hostname for host in own}  # a port may have moved since
    heard = [one for one in tape.connections if urlsplit(one.url).hostname in names or one.folder == exchange.id]
    parts = ((one.url, (frame for _, frame, _ in one.frames[:ENOUGH])) for one in heard)
    channels, symbols = spoken_of(exchange, parts, recorded_answers)
    if not channels:
        return None
    recorded = list(dict.fromkeys(origin(one.url) for one in heard))
    hosts = {host: nearest(host, recorded) if host.startswith("ws") else host for host in own}
    offered: list[str] = [channel for channel in exchange.channels if channel in channels]
    return Speaker(exchange.id, hosts, answers, offered, [name for name, _ in symbols.most_common() if name])


def nearest(host: str, recorded: Sequence[str]) -> str:
    """The recorded host to serve in place of a host: itself, else itself at another port, else the first."""
    if host in recorded or not recorded:
        return host
    name = urlsplit(host).hostname
    return next((other for other in recorded if urlsplit(other).hostname == name), recorded[0])


def origin(url: str) -> str:
    """Scheme and host."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def origins(exchange: Exchange, answers: Mapping[str, bytes]) -> list[str]:
    """Scheme and host of every address that an exchange declares, or is given for a ticket by these answers."""
    return list(dict.fromkeys(origin(url) for url in _addresses(exchange, answers)))


def _addresses(exchange: Exchange, answers: Mapping[str, bytes]) -> Iterator[str]:
    yield from (request.url for request in exchange.listing.all_requests)
    yield from (poll.request(ANY).url for poll in exchange.polls)
    for stream in exchange.streams:
        if stream.ticket is None:
            yield stream.url if isinstance(stream.url, str) else stream.url(())
        else:
            yield stream.ticket.request.url
            with suppress(Exception):  # whatever the tape holds at that address
                yield stream.ticket.read(answers[stream.ticket.request.url])
        yield from stream.mirrors
        if stream.snapshot is not None and stream.snapshot.request is not None:
            yield stream.snapshot.request(ANY).url
        if stream.backfill is not None:
            yield stream.backfill.request(ANY, Since(None, 0)).url


def _borrowed(exchange: Exchange, tape: Tape) -> Iterator[tuple[str, bytes]]:
    """Answers that stand in the exchange's folder, for requests of which the tape has no answer."""
    bodies = tape.bodies.get(exchange.id, [])
    missing = [r for r in exchange.listing.requests if not _has_answer(tape, r)]
    if missing:
        listings = sorted(bodies, key=lambda body: -_listed(exchange, body))
        lists = [body for body in listings if _listed(exchange, body)]
        yield from zip((request.url for request in missing), lists, strict=False)
    for detail in exchange.listing.details:
        if not _has_answer(tape, detail.request):
            yield from ((detail.request.url, body) for body in bodies if completes(detail, body))
    for ticket in (s.ticket for s in exchange.streams if s.ticket is not None):
        if not _has_answer(tape, ticket.request):
            yield from ((ticket.request.url, body) for body in bodies if _is_ticket(ticket, body))


def _has_answer(tape: Tape, request: Request) -> bool:
    return request.url in tape.answers or request.url.partition("?")[0] in tape.answers


def _listed(exchange: Exchange, body: bytes) -> int:
    """How many instruments an answer lists; none, where it is no listing."""
    try:
        return sum(exchange.listing.read(row) is not None for row in exchange.listing.rows(body))
    except Exception:  # noqa: BLE001 - an answer to something else
        return 0


def _is_ticket(ticket: Ticket, body: bytes) -> bool:
    try:
        return bool(urlsplit(ticket.read(body)).netloc)
    except Exception:  # noqa: BLE001 - an answer to something else
        return False
