"""Captures made by another program, read from files: lines `<seconds>: <frame>`, and a `.meta.json` beside each."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from msgspec import Struct
from msgspec.json import decode, encode

from aggregator.catalog.registry import load_exchange
from aggregator.records import Instrument
from aggregator.wire import number
from bench.frames import Capture

PROGRAM = Path(__file__).parents[2] / "shared" / "bench" / "gen_captures.py"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "market-aggregator" / "bench"
IDS = {"binance_futures": "binanceusdm", "coinbase_ex": "coinbaseexchange"}  # of ours, where they differ
KINDS = {"mix": "mixed"}
WRONG = b'"checksum":-855196043'  # of no book: the generator writes it into every frame
TIMES: dict[str, object] = {"E": 1_760_000_000_000, "T": 1_760_000_000_000}  # of whole books, which it leaves out
OPENING = 40  # frames at the start, among which whole books may stand


class Symbol(Struct):
    """One pair, as the file tells it; decimals of prices and sizes, where it does."""

    native: str
    base: str
    quote: str
    type: str
    pdec: int | None = None
    qdec: int | None = None


class Meta(Struct):
    """What stands beside a capture."""

    venue: str
    symbols: list[Symbol]
    snapshots: dict[str, dict[str, object]] = {}


def generated(count: int) -> Path | None:
    """The captures of the generator beside the checkout, `count` frames of each kind; None where there is none."""
    if not PROGRAM.exists():
        return None
    made_by = crc32(PROGRAM.read_bytes())
    directory = CACHE / f"captures-{made_by:08x}-{count}"
    if not directory.exists():
        rough = directory.with_suffix(".part")
        rough.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(PROGRAM), str(rough)]
        subprocess.run(command, check=True, env=os.environ | {"N": str(count)}, capture_output=True)  # noqa: S603
        rough.rename(directory)
    return directory


def read(directory: Path, count: int) -> Iterator[Capture]:
    """The captures of exchanges that have a connector, at most `count` frames of each."""
    return (found for path in paths(directory) if (found := load(path, count)) is not None)


def paths(directory: Path) -> list[Path]:
    """The files of a directory, in order."""
    return sorted(directory.glob("*.cap"))


def load(path: Path, count: int) -> Capture | None:
    """One capture; None where its exchange has no connector."""
    meta = decode(Path(f"{path}.meta.json").read_bytes(), type=Meta)
    exchange = IDS.get(meta.venue, meta.venue)
    return None if load_exchange(exchange) is None else _capture(path, meta, exchange, count)


def _capture(path: Path, meta: Meta, exchange: str, count: int) -> Capture:
    kind = path.name.split(".")[1]
    head, *lines = path.read_bytes().splitlines()
    frames = [line.partition(b": ")[2].replace(WRONG, b'"checksum":0') for line in lines]
    whole = 0
    while meta.snapshots == {} and whole < min(OPENING, len(frames)) and _is_whole(frames[whole], kind):
        whole += 1
    return Capture(
        exchange,
        KINDS.get(kind, kind),
        frames[whole : whole + count],
        frames[:whole],
        {symbol: encode(TIMES | body) for symbol, body in meta.snapshots.items()},
        {symbol.native: _instrument(symbol) for symbol in meta.symbols},
        head.partition(b" ")[0].decode(),
    )


def _is_whole(frame: bytes, kind: str) -> bool:
    return kind not in {"trade", "ticker"} and len(frame) > 4000 and b'"snapshot"' in frame[:400]


def _instrument(symbol: Symbol) -> Instrument:
    found = Instrument(
        raw_symbol=symbol.native,
        symbol=f"{symbol.base}/{symbol.quote}",
        base=symbol.base,
        quote=symbol.quote,
        tick_size=None if symbol.pdec is None else number(f"1e-{symbol.pdec}"),
        lot_size=None if symbol.qdec is None else number(f"1e-{symbol.qdec}"),
    )
    if symbol.type != "spot":
        found.kind, found.contract_size = "perpetual", "1"
        found.settle = symbol.base if symbol.quote == "USD" else symbol.quote
        found.linear = found.settle == symbol.quote
        found.symbol = f"{found.symbol}:{found.settle}"
    return found
