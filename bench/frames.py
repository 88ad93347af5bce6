"""Captures made on the spot, in the exchanges' own formats of today: seeded, so that every run has the same frames."""

from random import Random

from msgspec import Struct

from aggregator.records import Instrument
from bench.formats import WIRES
from bench.market import PAIRS, Ladder, Pair
from bench.wires import Moment, Wire

LEVELS = {"depth2": 2, "depth10": 10, "depth100": 100, "depth1000": 1000}
FRAMES = {"depth100": 1000, "depth1000": 200}  # what is long is fewer
SHARES = {"trade": 35, "ticker": 30, "book": 35}  # of a mixed capture


class Capture(Struct, frozen=True):
    """Frames of one connection.

    opening: frames that come first and are not measured: whole books sent in band
    snapshots: raw symbol -> the REST answer that holds the whole book
    """

    exchange: str
    kind: str
    frames: list[bytes]
    opening: list[bytes]
    snapshots: dict[str, bytes]
    instruments: dict[str, Instrument]
    url: str = ""  # of the stream, where known


def kinds(exchange: str) -> list[str]:
    """What can be made of an exchange: its channels, its book in deltas of so many levels, and all mixed."""
    wire = WIRES[exchange]
    deep = [kind for kind, levels in LEVELS.items() if wire.depth is None or 2 * levels <= wire.depth]
    return [*SHARES, *deep, "mixed"]


def make(exchange: str, kind: str, count: int, *, walks: bool = True) -> Capture:
    """A capture of at most `count` frames of one kind (fewer where each is long).

    walks: whether the prices do; where not, the frames may follow upon themselves, but for their numbers
    """
    random = Random(f"{exchange} {kind}")
    moment = Moment(random)
    wire = WIRES[exchange](moment)
    deep = wire.depth or (5000 if kind == "depth1000" else 1000)
    ladders = [Ladder(pair, random, deep, cut=wire.depth is not None, walks=walks) for pair in PAIRS]
    has_books = kind not in {"trade", "ticker"}
    opening = [wire.opening(ladder) for ladder in ladders] if has_books else []
    snapshots = {wire.raw_symbol(ladder.pair): wire.snapshot(ladder) for ladder in ladders} if has_books else {}
    frames = []
    for _ in range(min(count, FRAMES.get(kind, count))):
        moment.pass_by()
        frames.append(wire.pack(_message(wire, kind, random.choice(ladders))))
    return Capture(
        exchange,
        kind,
        frames,
        [wire.pack(frame) for frame in opening if frame is not None],
        {symbol: wire.pack(body) for symbol, body in snapshots.items() if body is not None},
        {raw: _instrument(raw, pair) for pair in PAIRS for raw in [wire.raw_symbol(pair)]},
    )


def _message(wire: Wire, kind: str, ladder: Ladder) -> object:
    random = wire.moment.random
    if kind == "mixed":
        (kind,) = random.choices([*SHARES], [*SHARES.values()])
    pair, middle = ladder.pair, ladder.middle
    size = 1 + int(random.lognormvariate(0, 1) * 10**pair.step)
    if kind == "trade":
        return wire.trade(pair, middle + random.choice((-1, 1)), size)
    if kind == "ticker":
        return wire.ticker(pair, middle - 1, middle + 1, size)
    levels = LEVELS.get(kind) or 1 + min(int(random.expovariate(1 / 4.5)), 40)
    return wire.delta(ladder, *ladder.change(levels))


def _instrument(raw_symbol: str, pair: Pair) -> Instrument:
    quote = "USDT" if raw_symbol.upper().endswith("USDT") else pair.quote
    # The steps say how many digits of a number a checksum counts.
    tick, lot = pair.price(1), pair.size(1)
    symbol = f"{pair.base}/{quote}"
    return Instrument(raw_symbol=raw_symbol, symbol=symbol, base=pair.base, quote=quote, tick_size=tick, lot_size=lot)
