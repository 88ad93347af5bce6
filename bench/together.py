"""Every connector at once, against playbacks: `python -m bench.together`.

For each exchange: whether it gives records, how long after the daemon's start the first one comes, and what
the daemon holds in memory with all of them. What is played is what was captured (`../shared/corpus`, or
`--captures`), where its format is today's; the frames of `tests/frames` for the rest. The sandbox serves it, looped.
"""

import argparse
import asyncio
import json
import re
import signal
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import SequenceMatcher
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.json import encode

from aggregator.capture.line import CaptureLine
from aggregator.capture.reading import read_capture
from aggregator.capture.replay import ParseOnly
from aggregator.capture.speakers import ENOUGH
from aggregator.catalog.catalog import aliases_of
from aggregator.catalog.registry import connector_ids, load_exchange
from aggregator.client import connect
from aggregator.errors import BadFrame
from aggregator.exchange import Exchange, Stream, Ticket
from aggregator.ingest.listing import read_bodies
from aggregator.records import CHANNEL_OF, Gap, Health, Instrument, Record, Summary
from bench.daemon import resident
from bench.elsewhere import feed_table
from bench.measure import as_installed, table

HERE = Path(__file__).resolve().parents[1]
CORPUS = HERE.parent / "shared" / "corpus"
FRAMES = HERE / "tests" / "frames"
START = 1_700_000_000  # seconds since the epoch, at which the playbacks made of single frames begin
APART = 0.05  # seconds between two of their frames
ROUNDS = 40  # how often they are repeated before the sandbox begins again
SOON = 5.0  # seconds within which each exchange is to give its first record
MOST = 250.0  # megabytes
OPEN = ("trading", "post_only")  # states of instruments that are followed
CHANNELS_BY_TYPE = {str(kind.__struct_config__.tag): channel for kind, channel in CHANNEL_OF.items()}
ABOUT = (Gap, Health, Instrument, Summary)  # records that are no market data

SINKS = """\
[[sinks]]
type = "files"
path = "{home}/out"

{feed}"""

Row = Mapping[str, object]
Names = Mapping[str, Mapping[str, str]]  # by feed: of instruments in the cases -> those that take their place


class Played(Struct):
    """One exchange's playback: how many frames it has, and where from."""

    frames: int
    source: str


def known(id: str) -> Exchange:
    """A connector's exchange. Raises ValueError for any other id."""
    exchange = load_exchange(id)
    if exchange is None:
        raise ValueError(f"{id}: no connector")
    return exchange


def rows_of(id: str) -> list[Row]:
    """The exchange's cases under `tests/frames`."""
    path = FRAMES / f"{id}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def captured(exchange: Exchange, captures: Path) -> Iterator[CaptureLine]:
    """Inbound lines of the captures of today's format, each with the connection and address it would have today."""
    folder = captures / exchange.id
    meta = folder / "META.json"
    if not meta.exists() or json.loads(meta.read_text()).get("wire_format") != "current":
        return
    reader = ParseOnly(exchange, [], None)
    for number, path in enumerate(sorted(folder.glob("ws-[0-9]*.jsonl.zst")), 1):
        for _, line in read_capture(path):
            if isinstance(line, BadFrame) or line.dir != "in":
                continue
            stream = reader.stream_of(line.address, line.payload)
            line.conn, line.url = f"{exchange.id}/{stream.name}.{number}#1", address(stream)
            yield line


def address(stream: Stream) -> str:
    """Where a stream is had; of one that needs a ticket, what its playback's ticket says."""
    if stream.ticket is not None:
        return f"wss://{urlsplit(stream.ticket.read(ticket(stream.ticket).encode())).netloc}"
    return stream.url if isinstance(stream.url, str) else stream.url(())


def quoted(exchange: Exchange, names: Names) -> Iterator[CaptureLine]:
    """The frames of the exchange's cases that give records, again and again, each after those that it follows."""
    at = float(START)
    rows = [row for row in rows_of(exchange.id) if is_data(row) and "rest" not in row]
    named = {stream.name: stream for stream in exchange.streams}
    for row in rows * ROUNDS:
        name = str(row.get("stream", "main"))
        if name not in named:
            continue
        earlier = row.get("after", [])
        frame, packed = row.get("frame"), row.get("frame_b64")
        for raw in (*(earlier if isinstance(earlier, list) else ()), frame):
            at += APART
            yield CaptureLine(
                ts=f"{at:.3f}", dir="in", raw=None if raw is None else renamed(str(raw), names.get(name)),
                raw_b64=None if packed is None or raw is not None else str(packed), url=address(named[name]),
                conn=f"{exchange.id}/{name}.1#1",
            )  # fmt: skip


def renamed(text: str, names: Mapping[str, str] | None) -> str:
    """A frame or an answer in which instruments have other names."""
    if not names:
        return text
    longest_first = sorted(names, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), lambda found: names[found[0]], text)


def names_for(exchange: Exchange, listed: Sequence[Instrument]) -> Names:
    """By feed: for each instrument of its cases itself, or where it does not serve it the listed one most like it.

    One that is listed takes the place of a second only where there are too few. A name of digits alone stays: a frame
    has others, which are none.
    """
    feeds = {feed.name: feed for feed in exchange.feeds}
    open_ones = [i for i in listed if i.state in OPEN and i.raw_symbol]
    found: dict[str, dict[str, str]] = {}
    for row in rows_of(exchange.id):
        feed = feeds.get(feed_of(row))
        if feed is None or not is_data(row):
            continue
        names = found.setdefault(feed.name, {})
        served = [i.raw_symbol or "" for i in open_ones if feed.serves(i)]
        for given in given_by(row):
            name = given.get("raw_symbol")
            is_shared = isinstance(feed, Stream) and CHANNELS_BY_TYPE.get(given.get("type", "")) in feed.named
            if name and served and not (is_shared or name in names or name.isdecimal()):
                free = [one for one in served if one not in names.values()] or served
                names[name] = name if name in served else max(free, key=lambda one: likeness(one, name))
    return found


def feed_of(row: Row) -> str:
    """The name of the stream or poll that a case is of."""
    return str(row.get("name") or row.get("stream", "main"))


def likeness(one: str, other: str) -> float:
    """How alike two names are, from 0 to 1."""
    return SequenceMatcher(None, one, other).ratio()


def given_by(row: Row) -> list[dict[str, str]]:
    """The records and events of a case, as they are spelled there."""
    gives = row.get("gives")
    return [given for given in gives if isinstance(given, dict)] if isinstance(gives, list) else []


def is_data(row: Row) -> bool:
    """Whether a case is a frame or an answer that gives a record."""
    return any("type" in given for given in given_by(row))


def listing_bodies(exchange: Exchange, captures: Path, wanted: Mapping[str, int]) -> list[str]:
    """An answer to each of the listing's requests: of those from its address, the one with the most of what is wanted.

    An answer of a case has no address: it may take the place of any.
    """
    path = captures / exchange.id / "rest.jsonl"
    recorded = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    bodies = [(str(row["url"] or ""), str(row["raw"])) for row in recorded if row["channel"] == "instrument"]
    bodies += [("", str(row["body"])) for row in rows_of(exchange.id) if row.get("rest") == "listing"]
    found = [(urlsplit(url).path, body, listed_by(exchange, [body])) for url, body in bodies]
    found = [one for one in found if one[2]]
    paths = {urlsplit(request.url).path for request in exchange.listing.requests}
    chosen: list[str] = []
    kinds: set[str] = set()
    names: set[str] = set()
    asked: set[str] = set()
    for request in exchange.listing.requests:
        if request.url in asked:  # the playback has one answer for an address
            chosen.append("")
            continue
        asked.add(request.url)
        own = [one for one in found if one[0] == urlsplit(request.url).path]
        fitting = own or [one for one in found if one[0] not in paths]
        if not fitting:
            chosen.append("")
            continue
        best = max(fitting, key=lambda one: worth(one[2], wanted, kinds, names))
        found.remove(best)
        kinds |= {instrument.kind for instrument in best[2]}
        names |= {instrument.raw_symbol or "" for instrument in best[2]}
        chosen.append(best[1])
    return chosen


def worth(
    listed: Sequence[Instrument], wanted: Mapping[str, int], kinds: set[str], names: set[str]
) -> tuple[int, int, int]:
    """How good an answer of a listing is beside those that are chosen: new kinds first, then wanted names, then all."""
    new = {instrument.raw_symbol or "" for instrument in listed} - names
    return len({i.kind for i in listed} - kinds), sum(wanted.get(name, 0) for name in new), len(new)


def listed_by(exchange: Exchange, bodies: Sequence[str]) -> list[Instrument]:
    """The instruments of a listing's answers; none, where they cannot be read."""
    with suppress(Exception):
        whole = [body.encode() for body in bodies if body]
        return list(read_bodies(exchange, whole, aliases_of(exchange.id), 0).instruments)
    return []


def answers(exchange: Exchange, bodies: Sequence[str], names: Names) -> Iterator[CaptureLine]:
    """REST lines: the listing, tickets, and what the exchange's cases hold of snapshots, polls and past trades."""
    for request, body in zip(exchange.listing.requests, bodies, strict=False):
        if body:
            yield CaptureLine(ts=str(START), url=request.url, raw=body)
    for stream in exchange.streams:
        if stream.ticket is not None:
            yield CaptureLine(ts=str(START), url=stream.ticket.request.url, raw=ticket(stream.ticket))
    polls = {poll.name: poll for poll in exchange.polls}
    streams = {stream.name: stream for stream in exchange.streams}
    for row in rows_of(exchange.id):
        own = names.get(feed_of(row))
        raw_symbol, body = renamed(str(row.get("raw_symbol", "")), own), renamed(str(row.get("body")), own)
        if row.get("rest") == "poll" and is_data(row):
            yield CaptureLine(ts=str(START), url=polls[str(row["name"])].request(raw_symbol).url, raw=body)
        elif row.get("rest") == "snapshot":
            snapshot = streams[str(row.get("stream", "main"))].snapshot
            if snapshot is not None and snapshot.request is not None:
                yield CaptureLine(ts=str(START), url=snapshot.request(raw_symbol).url, raw=body)


def ticket(asked: Ticket) -> str:
    """An answer to a ticket's request that leads to the playback: in the first of the known forms that it reads."""
    host = urlsplit(asked.request.url).netloc
    servers = [{"endpoint": f"wss://{host}", "pingInterval": 18000, "pingTimeout": 10000}]
    tokens = json.dumps({"code": "200000", "data": {"token": "playback", "instanceServers": servers}})
    times = json.dumps({"data": {"time": START * 1000}})
    for form in (tokens, times):
        with suppress(Exception):  # it is of another form
            asked.read(form.encode())
            return form
    raise ValueError(f"no ticket is known of the form that {asked.request.url} answers in")


def prepare(id: str, captures: Path, path: Path) -> Played:
    """Write the exchange's playback."""
    exchange = known(id)
    lines, source = list(captured(exchange, captures)), "captured"
    symbols = heard_in(exchange, lines)
    bodies = listing_bodies(exchange, captures, symbols)
    names: Names = {}
    if not any(instrument.raw_symbol in symbols for instrument in listed_by(exchange, bodies)):
        source = "quoted"
        bodies = listing_bodies(exchange, captures, Counter(names_in(exchange)))
        names = names_for(exchange, listed_by(exchange, bodies))
        lines = list(quoted(exchange, names))
    write(path, [*lines, *answers(exchange, bodies, names)])
    return Played(len(lines), source if exchange.streams else "polled")


def write(path: Path, lines: Sequence[CaptureLine]) -> None:
    """Write a playback."""
    path.write_bytes(b"".join(encode(line) + b"\n" for line in lines))


def heard_in(exchange: Exchange, lines: Sequence[CaptureLine]) -> Counter[str]:
    """The raw symbols of the records that these lines give, of channels that their stream is asked for today."""
    reader = ParseOnly(exchange, [], None)
    streams = {stream.name: stream for stream in exchange.streams}
    found: Counter[str] = Counter()
    for line in lines[:ENOUGH]:
        stream = streams[line.conn.partition("/")[2].partition(".")[0]]
        with suppress(Exception):  # a frame that cannot be read names no topic
            records = [r for r in reader.feed(line) if CHANNEL_OF.get(type(r)) in stream.channels]
            found.update(record.raw_symbol or "" for record in records)
    return found


def names_in(exchange: Exchange) -> Iterator[str]:
    """The raw symbols of the records that the exchange's cases give."""
    for row in rows_of(exchange.id):
        if is_data(row) and row.get("rest") != "listing":
            yield from (given["raw_symbol"] for given in given_by(row) if "raw_symbol" in given)


async def first_records(home: Path, started: float, seconds: float) -> dict[str, float]:
    """By exchange: seconds from the daemon's start to its first record of the market, as a subscriber sees it."""
    found: dict[str, float] = {}
    while not (home / "feed.sock").exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.02)
    async with connect(home / "feed.sock") as feed:
        await feed.subscribe("*:*:*", snapshot=False)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for record in feed:
                    if isinstance(record, Record) and not isinstance(record, ABOUT):
                        found.setdefault(record.exchange or "", time.monotonic() - started)
    return found


async def process(home: Path, command: str, *arguments: str) -> Process:
    """One of the program's own commands; what it says is kept."""
    with (home / f"{command}.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(sys.executable, "-m", "aggregator", command, *arguments, stderr=log)


async def run(home: Path, captures: Path, ids: Sequence[str], seconds: float) -> int:
    """Play all of it to one daemon; how many exchanges are late or silent, and one more where memory is too much."""
    as_installed()
    played: dict[str, Played] = {}
    for id in ids:
        (home / id).mkdir(parents=True)
        played[id] = prepare(id, captures, home / id / "playback.jsonl")
    config = home / "daemon.toml"
    paths = [str(home / id / "playback.jsonl") for id in ids]
    sandbox = await process(home, "sandbox", *paths, "--port", "0", "--loop", "--config-out", str(config))
    while b"serving" not in (home / "sandbox.log").read_bytes():  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.1)
    sinks = SINKS.format(home=home, feed=feed_table(home / "feed.sock"))
    text = config.read_text().replace('[[sinks]]\ntype = "stdout"\n', sinks)
    config.write_text(f'state = "{home}/state"\n{text}')
    started = time.monotonic()
    daemon = await process(home, "run", "--config", str(config))
    looking = asyncio.create_task(first_records(home, started, seconds))
    memory = []
    while not looking.done() and daemon.returncode is None:
        await asyncio.sleep(0.5)
        with suppress(OSError):  # it has just left
            memory.append(resident(daemon.pid))
    looking.cancel()
    found = {} if looking.cancelled() else await looking
    daemon.send_signal(signal.SIGTERM)
    code = await daemon.wait()
    sandbox.send_signal(signal.SIGTERM)
    await sandbox.wait()
    return report(played, found, memory, code)


def report(played: Mapping[str, Played], found: Mapping[str, float], memory: Sequence[float], code: int) -> int:
    """Print the table; how much of it is wrong."""
    first = {id: f"{found[id]:.2f}" if id in found else "none" for id in played}
    rows = [[id, one.source, one.frames, first[id]] for id, one in played.items()]
    table("every connector at once", ("exchange", "played", "frames", "first s"), rows)
    late = [id for id in played if found.get(id, SOON) >= SOON]
    print(f"\nlate or silent: {', '.join(late) or 'none'} of {len(played)}; the daemon left with {code}")
    print(f"memory: at most {max(memory, default=0):.0f} MB, at the end {memory[-1] if memory else 0:.0f} MB")
    return len(late) + (max(memory, default=0) > MOST) + (code != 0)


def main() -> None:
    """Parse the command line, run, and leave with 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captures", type=Path, default=CORPUS)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--exchanges", default=",".join(connector_ids()))
    parser.add_argument("--keep", type=Path, help="use this directory, and leave it")
    asked = parser.parse_args()
    home = asked.keep or Path(tempfile.mkdtemp(prefix="together-"))
    home.mkdir(parents=True, exist_ok=True)
    wrong = asyncio.run(run(home, asked.captures, asked.exchanges.split(","), asked.seconds))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
