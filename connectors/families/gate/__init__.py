"""Gate's WebSocket protocol, version 4: one socket for spot, one for each asset in which contracts settle.

https://www.gate.com/docs/developers/apiv4/ws/en/
Of the two books that are documented the newer one (`obu`) is used where there is one: it begins with a whole book, and
tells parts of a contract, which the older one rounds.
"""

from collections.abc import Callable, Iterable, Sequence

from aggregator.exchange import Heartbeat, Stream, Subscribe, Subscription
from aggregator.records import SECOND_NS, Channel, Instrument
from aggregator.sequence import contiguous
from aggregator.wire import encode
from connectors.families.gate.frames import BOOK_STREAM, FUTURES, OPTIONS, PERPETUALS, SPOT, parse
from connectors.families.gate.listing import PARTS, backfill, listing, snapshot
from connectors.families.gate.spot_wires import LONG

__all__ = ["FUTURES", "OPTIONS", "PERPETUALS", "SPOT", "listing", "stream"]

WEEKS = {ours: wire for wire, ours in LONG.items()}
DEPTH = 400  # levels a side of the newer book, every 100 ms
OLDER_DEPTHS = {"futures": 100, "options": 50}


def asking(event: str, channels: dict[Channel, str]) -> Subscribe:
    """A frame for each topic: answers repeat its id, so that one refused instrument takes no other down with it."""

    def payload(s: Subscription) -> list[str]:
        wire = channels[s.channel]
        if wire.endswith(BOOK_STREAM):
            return [f"ob.{s.raw_symbol}.{DEPTH}"]
        if wire.endswith("order_book_update"):
            return [s.raw_symbol, "100ms", str(OLDER_DEPTHS[wire.partition(".")[0]])]
        if s.channel == "candles":
            return [WEEKS.get(s.interval, s.interval), s.raw_symbol]
        return [s.raw_symbol]

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for s in wanted:  # the time is that of the documentation: it is only looked at beside a signature
            words = {"time": 123456, "id": id, "channel": channels[s.channel], "event": event, "payload": payload(s)}
            yield encode(words)

    return ask


def pinging(market: str) -> Callable[[int], bytes]:
    def ping(now: int) -> bytes:
        return encode({"time": now // SECOND_NS, "channel": f"{market}.ping"})

    return ping


def stream(
    name: str,
    url: str,
    channels: dict[Channel, str],
    serves: Callable[[Instrument], bool],
    *,
    api: str,
    path: str = "",
) -> Stream:
    """Declare one socket.

    api: the REST address, for past trades of spot and whole books where the stream brings none
    path: where those books are, below it
    """
    market = channels["trades"].partition(".")[0]
    is_older = not channels["book"].endswith(BOOK_STREAM)
    depth = OLDER_DEPTHS[market] if is_older else DEPTH
    is_spot = channels is SPOT
    return Stream(
        name=name,
        url=url,
        channels=channels,
        serves=serves,
        subscribe=asking("subscribe", channels),
        unsubscribe=asking("unsubscribe", channels),
        parse=parse,
        heartbeat=Heartbeat(15, pinging(market)),
        headers=PARTS if market == "futures" else {},
        snapshot=snapshot(api, path, depth) if is_older else None,
        sequence={"book": contiguous, "trades": contiguous} if is_spot else {"book": contiguous},
        backfill=backfill(api) if is_spot else None,
        depth=depth,
        batch=1,
        pace=0.05,
        patience=40,  # a ping is answered when there is nothing else to say
    )
