"""Captures as a whole, to be served: what each recorded connection said, and what each address answered."""

from pathlib import Path
from urllib.parse import urlsplit

import orjson
from msgspec import Struct

from aggregator.capture.line import CaptureLine
from aggregator.capture.reading import read_capture
from aggregator.errors import BadFrame


class Recorded(Struct):
    """One recorded connection: its address, and its inbound frames, each with the seconds since the first.

    folder: the name of the one that the capture stands in
    """

    url: str
    folder: str
    frames: list[tuple[float, bytes, bool]]  # seconds, payload, whether it was a binary frame


class Tape(Struct):
    """All that a set of captures holds."""

    connections: list[Recorded] = []
    answers: dict[str, tuple[int, bytes]] = {}  # their keys are addresses, with their query and without
    bodies: dict[str, list[bytes]] = {}  # answers whose request is not known, by the folder of their capture

    def hosts(self) -> list[str]:
        """Prefixes of the addresses that are served."""
        urls = [recorded.url for recorded in self.connections] + list(self.answers)
        return list(dict.fromkeys(_prefix(url) for url in urls if "://" in url))


def load(paths: tuple[Path, ...]) -> Tape:
    """Read captures; the REST answers that stand beside a capture (`rest.jsonl`) are served too.

    Raises OSError when a file cannot be read, and BadFrame when a line of it is no line of a capture.
    """
    tape = Tape(connections=[], answers={}, bodies={})
    for path in paths:
        _load(path, tape)
        beside = path.parent / "rest.jsonl"
        if beside != path and beside.is_file():
            _load(beside, tape)
    return tape


def _load(path: Path, tape: Tape) -> None:
    recorded: dict[str, Recorded] = {}
    starts: dict[str, float] = {}
    fallback = _address_beside(path)
    for number, line in read_capture(path):
        if not isinstance(line, CaptureLine):
            raise line
        if not _is_readable(line.address):
            raise BadFrame(f"{path}:{number}: {line.address[:100]!r} is no address")
        if line.dir == "rest":
            tape.answers[line.address] = (line.status or 200, line.payload)
            tape.answers.setdefault(line.address.partition("?")[0], (line.status or 200, line.payload))
            tape.bodies.setdefault(path.parent.name, []).append(line.payload)
        elif line.dir in {"in", "open"}:
            found = recorded.get(line.conn)
            if found is None:
                found = recorded[line.conn] = Recorded(line.address or fallback, path.parent.name, [])
                starts[line.conn] = _seconds(line)
            if line.dir == "in":
                found.frames.append((_seconds(line) - starts[line.conn], line.payload, line.raw_b64 is not None))
    tape.connections += [found for found in recorded.values() if found.frames]


def _seconds(line: CaptureLine) -> float:
    return line.time / 1e9


def _address_beside(path: Path) -> str:
    """The address of a capture whose lines have none: the file's own entry in META.json, or nothing."""
    try:
        meta = orjson.loads((path.parent / "META.json").read_bytes())
        entry = next(entry for entry in meta["files"] if entry["file"] == path.name)
        return str(entry["connections"][0]["url"])
    except (OSError, ValueError, KeyError, IndexError, StopIteration):
        return ""


def _is_readable(address: str) -> bool:
    try:
        return urlsplit(address).port != -1  # it raises where there is no such host or port
    except ValueError:
        return False


def _prefix(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
