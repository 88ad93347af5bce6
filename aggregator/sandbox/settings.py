"""The settings of a sandbox."""

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, get_args

from msgspec import Struct

Fault = Literal["drop", "duplicate", "reorder", "corrupt", "stall", "half_open", "close", "refuse", "http_429", "slow"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
PER_FRAME = ("drop", "duplicate", "reorder", "corrupt")  # a probability; http_429 likewise, per request
TIMED = ("stall", "half_open", "close", "refuse")  # mean seconds between two; `slow` is seconds added to each frame

# Behaviours of an exchange that has gone wrong or means harm. One is on, at full speed, while its value is above 0.
ON_FRAMES = {
    "fragments": "a good message in fragments of one byte, with empty ones between them",
    "empty_fragments": "a message of more empty fragments than a reader takes",
    "endless_fragments": "a message whose fragments together are larger than a reader takes",
    "rubbish": "frames of one byte that is no message, at full speed",
    "empty": "empty frames, at full speed",
    "idle": "the shortest frames that the protocol has, all of them good, at full speed",
    "pings": "protocol pings, at full speed, while their pongs are not read",
    "deep": "JSON of a hundred thousand nested lists",
    "wide": "JSON objects of a hundred thousand keys and lists of as many numbers",
    "heavy": "a good message of as many rows as a reader takes",
    "dense": "good messages that are just not large, at full speed",
    "crowded": "a good message of more rows than a reader takes",
    "digits": "a good frame whose numbers have a million digits",
    "bomb": "compressed bytes that unpack to more than a reader takes",
    "oversized": "a frame that is larger than a reader takes",
    "trickle": "good frames, a byte at a time",
    "escapes": "a good frame whose symbol is of control characters; then a close with such a reason",
    "announced": "the exchange says that it will close the connection, and soon does",
}
ON_REQUESTS = {
    "refuse_final": "whatever is asked for is not known",
    "refuse_passing": "whatever is asked for is too much just now",
    "refuse_unnamed": "whatever is asked for is refused, and not said what",
    "refuse_escapes": "whatever is asked for is refused in words of control characters",
}
ON_HANDSHAKES = {
    "handshake_429": "429 with Retry-After",
    "handshake_redirect": "a redirect to another host",
    "handshake_slow": "an answer of which a byte comes now and then",
    "handshake_endless": "an answer whose headers do not end",
    "handshake_silent": "no answer at all",
    "handshake_cut": "no answer at all, and the connection ends",
    "handshake_junk": "an answer that is no HTTP",
    "handshake_escapes": "403 with control characters in the reason",
}
ON_REST = {
    "rest_redirect": "a redirect to another host",
    "rest_loop": "a redirect to itself",
    "rest_slow": "a body of which a byte comes now and then",
    "rest_silent": "no answer at all",
    "rest_error": "an error with HTTP 200, in words of control characters",
    "rest_short": "less than the content length says, and the connection ends",
    "rest_long": "more than the content length says",
    "rest_large": "a body that is larger than a reader takes",
    "rest_bomb": "a gzipped body that unpacks to more than a reader takes",
    "rest_heavy": "a good body of as many rows as a reader takes",
    "rest_crowded": "a good body of more rows than a reader takes",
    "rest_deep": "JSON of a hundred thousand nested lists",
    "rest_digits": "a good body whose numbers have a million digits",
    "rest_listing": "a listing of many more instruments than a reader takes",
}
AT_START = {"false_certificate": "TLS with a certificate that nobody vouches for; only when the sandbox starts"}
HOSTILE = ON_FRAMES | ON_REQUESTS | ON_HANDSHAKES | ON_REST | AT_START


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
    hostile: names in HOSTILE, or of timed faults, which then come about every second: each new connection has the next
        of them, and every second request by REST
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
    hostile: tuple[str, ...] = ()


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


def read_hostile(text: str) -> tuple[str, ...]:
    """`idle,bomb` as names; `all` is all but what needs TLS. Raises ValueError that says what is allowed."""
    names = tuple(filter(None, (part.strip() for part in text.split(","))))
    if names == ("all",):
        return tuple(name for name in (*HOSTILE, *TIMED) if name not in AT_START)
    for name in names:
        if name not in HOSTILE and name not in TIMED:
            raise ValueError(f"{name!r} is no hostile behaviour; there are: all, {', '.join((*HOSTILE, *TIMED))}")
    return names


def is_loopback(host: str) -> bool:
    """Tell whether nobody but this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_fault(kind: str, value: float) -> float:
    """The value, if it is one for this kind. Raises ValueError."""
    if kind in AT_START:
        raise ValueError(f"{kind} is for --hostile alone: it is there from the start or not at all")
    if kind not in FAULTS and kind not in HOSTILE:
        raise ValueError(f"there is no fault {kind!r}; there are: {', '.join((*FAULTS, *HOSTILE))}")
    if not 0 <= value < float("inf"):
        raise ValueError("the value must be a number from 0 up")
    if (kind in PER_FRAME or kind == "http_429") and value > 1:
        raise ValueError("a probability is at most 1")
    return value
