"""Trades of one frame are told oldest first, in whichever order the exchange has them stand.

Behind the newest number the others would count as repeats.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from aggregator.catalog.registry import load_exchange
from aggregator.records import Trade

FRAMES = Path(__file__).parents[1] / "frames"
LISTS: dict[str, tuple[str, ...]] = {  # where the trades of a frame stand
    "bingx": ("data",),
    "bitrue": ("tick", "data"),
    "bitso": ("payload",),
    "foxbit": ("data",),
    "wazirx": ("data", "trades"),
    "weex": ("d",),
}


def rows(frame: Any, path: Iterable[str]) -> list[Any]:
    for name in path:
        frame = frame[name]
    found: list[Any] = frame
    return found


def told(id: str, stream: str, frame: Any) -> list[Trade]:
    exchange = load_exchange(id)
    assert exchange is not None
    (read,) = [each.reader() for each in exchange.streams if each.name == stream]
    events = read(json.dumps(frame, separators=(",", ":")).encode())
    return [event for event in events if isinstance(event, Trade)]


def several(id: str) -> tuple[str, Any]:
    """A frame of several trades at several times, and its stream."""
    for line in (FRAMES / f"{id}.jsonl").read_text().splitlines():
        case = json.loads(line)
        times = [given.get("ts_event") for given in case["gives"] if given.get("type") == "trade"]
        if "frame" in case and len(set(times)) > 1:
            return case["stream"], json.loads(case["frame"])
    raise AssertionError(f"no frame of {id} has several trades")


@pytest.mark.parametrize("id", LISTS)
def test_the_order_of_a_frame_is_that_of_its_times(id: str) -> None:
    stream, frame = several(id)
    as_it_stands = told(id, stream, frame)
    rows(frame, LISTS[id]).reverse()
    assert told(id, stream, frame) == as_it_stands
    times = [trade.ts_event or 0 for trade in as_it_stands]
    assert times == sorted(times)
