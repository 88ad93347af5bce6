"""Captures made by another program, read from files: lines `<seconds>: <frame>`, and a `.meta.json` beside each."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.json import decode

from aggregator.records import Instrument
from aggregator.registry import load_exchange
from bench.frames import Capture

PROGRAM = "gen_captures.py"
IDS = {"binance_futures": "binanceusdm", "coinbase_ex": "coinbaseexchange"}  # of ours, where they differ
KINDS = {"mix": "mixed"}
OPENING = 40  # frames at the start, among which whole books may stand


class Symbol(Struct):
    """One pair, as the file tells it."""

    native: str
    base: str
    quote: str
    type: str


class Meta(Struct):
    """What stands beside a capture."""

    venue: str
    symbols: list[Symbol]
    snapshots: dict[str, object] = {}


def generate(program: Path, cache: Path, count: int) -> Path:
    """Run the program once, for so many frames of each kind; the directory in which its captures stand."""
    directory = cache / f"captures-{count}"
    if not (directory / "complete").exists():
        directory.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"N": str(count)}
        subprocess.run([sys.executable, str(program), str(directory)], check=True, env=environment, capture_output=True)  # noqa: S603
        (directory / "complete").touch()
    return directory


def read(directory: Path, exchanges: list[str], count: int) -> Iterator[Capture]:
    """The captures of exchanges that have a connector, at most `count` frames of each; `exchanges`: only these."""
    for path in sorted(directory.glob("*.cap")):
        meta = decode(Path(f"{path}.meta.json").read_bytes(), type=Meta)
        exchange = IDS.get(meta.venue, meta.venue)
        if load_exchange(exchange) is not None and (not exchanges or exchange in exchanges):
            yield _capture(path, meta, exchange, count)


def _capture(path: Path, meta: Meta, exchange: str, count: int) -> Capture:
    kind = path.name.split(".")[1]
    lines = path.read_bytes().splitlines()
    frames = [line.partition(b": ")[2] for line in lines if line[:1].isdigit()]
    whole = 0
    while meta.snapshots == {} and whole < min(OPENING, len(frames)) and _is_whole(frames[whole], kind):
        whole += 1
    return Capture(
        exchange,
        KINDS.get(kind, kind),
        frames[whole : whole + count],
        frames[:whole],
        {symbol: json.dumps(body, separators=(",", ":")).encode() for symbol, body in meta.snapshots.items()},
        {symbol.native: _instrument(symbol) for symbol in meta.symbols},
    )


def _is_whole(frame: bytes, kind: str) -> bool:
    return kind not in {"trade", "ticker"} and len(frame) > 4000 and b'"snapshot"' in frame[:400]


def _instrument(symbol: Symbol) -> Instrument:
    if symbol.type == "spot":
        name = f"{symbol.base}/{symbol.quote}"
        return Instrument(raw_symbol=symbol.native, symbol=name, base=symbol.base, quote=symbol.quote)
    settle = symbol.base if symbol.quote == "USD" else symbol.quote
    return Instrument(
        raw_symbol=symbol.native,
        symbol=f"{symbol.base}/{symbol.quote}:{settle}",
        kind="perpetual",
        base=symbol.base,
        quote=symbol.quote,
        settle=settle,
        linear=settle == symbol.quote,
        contract_size="1",
    )
