"""What a sandbox is told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from msgspec import Struct

Fault = Literal["drop", "duplicate", "reorder", "corrupt", "stall", "half_open", "close", "refuse", "http_429", "slow"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
PER_FRAME = ("drop", "duplicate", "reorder", "corrupt")  # a probability; http_429 likewise, per request
TIMED = ("stall", "half_open", "close", "refuse")  # mean seconds between two; `slow` is seconds added to each frame


class SandboxSettings(Struct, frozen=True, kw_only=True):
    """One sandbox.

    captures: files to play back
    simulate: exchanges to simulate, by id
    rate: frames a second over all simulated markets
    speed: of playback; 1 is as recorded, 0 as fast as the reader takes it
    loop: play captures again and again
    faults: what goes wrong, and how often: a probability per frame or request, or mean seconds
    control: path of the control socket
    fault_log: file to which every injected fault is appended
    """

    captures: tuple[Path, ...] = ()
    simulate: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 0
    rate: float = 50.0
    speed: float = 1.0
    loop: bool = False
    seed: int = 1
    faults: Mapping[str, float] = {}
    control: Path | None = None
    fault_log: Path | None = None


def read_faults(text: str) -> dict[str, float]:
    """`drop=0.001,close=30s` as a mapping. Raises ValueError that names what is wrong and what is allowed."""
    faults: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, equals, value = part.partition("=")
        if kind not in FAULTS or not equals:
            raise ValueError(f"{part!r} is not a fault; write kind=value with one of: {', '.join(FAULTS)}")
        try:
            faults[kind] = check_fault(kind, float(value.removesuffix("s")))
        except ValueError as error:
            raise ValueError(f"{part!r}: {error}") from None
    return faults


def check_fault(kind: str, value: float) -> float:
    """The value, if it is one for this kind. Raises ValueError."""
    if kind not in FAULTS:
        raise ValueError(f"there is no fault {kind!r}; there are: {', '.join(FAULTS)}")
    if not 0 <= value < float("inf"):
        raise ValueError("the value must be a number from 0 up")
    if (kind in PER_FRAME or kind == "http_429") and value > 1:
        raise ValueError("a probability is at most 1")
    return value
