"""Gate: spot, perpetuals by the asset in which they settle, dated futures and options; version 4 of its protocol.

https://www.gate.com/docs/developers/apiv4/ws/en/
One socket serves spot, and one each asset in which contracts settle. Of the two books that are documented the newer one
(`obu`) is used where there is one: it begins with a whole book, and tells parts of a contract, which the older one
rounds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import structs

from aggregator.exchange import Exchange, Heartbeat, Limits, Stream, Subscribe, Subscription, Trouble
from aggregator.records import SECOND_NS, Channel, Instrument, Kind
from aggregator.refusals import coded
from aggregator.sequence import contiguous
from aggregator.wire import encode, ms, seconds
from connectors.gate.frames import BOOK_STREAM, FUTURES, OPTIONS, PERPETUALS, SPOT, parse
from connectors.gate.history import history
from connectors.gate.listing import PARTS, backfill, listing, snapshot
from connectors.gate.spot_wires import LONG

API = "https://api.gateio.ws/api/v4"
FUTURES_WS = "wss://fx-ws.gateio.ws/v4/ws"
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


def settled(kind: Kind, asset: str | None) -> Callable[[Instrument], bool]:
    return lambda instrument: instrument.kind == kind and instrument.settle == asset


says = coded("label", "message", fine=(), busy=("TOO_MANY_REQUESTS", "TOO_BUSY"))


def trouble(status: int, headers: Mapping[str, str], body: bytes) -> Trouble | None:
    """When a limit ends stands in a header.

    Its documentation gives no unit, and users of it report seconds as well as milliseconds (2026): the length tells.
    """
    said, reset = says(status, headers, body), headers.get("x-gate-ratelimit-reset-timestamp", "")
    if said is None or not said.is_busy or not reset.isdecimal():
        return said
    return structs.replace(said, until=(ms if len(reset) > len("1795867200") else seconds)(int(reset)))


def stream(
    name: str,
    url: str,
    channels: dict[Channel, str],
    serves: Callable[[Instrument], bool],
    path: str = "",
) -> Stream:
    """Declare one socket.

    path: where whole books are, below the REST address, if the stream brings none
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
        snapshot=snapshot(API, path, depth) if is_older else None,
        sequence={"book": contiguous, "trades": contiguous} if is_spot else {"book": contiguous},
        backfill=backfill(API) if is_spot else None,
        depth=depth,
        batch=1,
        pace=0.05,
        patience=40,  # a ping is answered when there is nothing else to say
    )


EXCHANGE = Exchange(
    id="gate",
    docs="https://www.gate.com/docs/developers/apiv4/ws/en/",
    checked="2026-09, live probes by others",
    trouble=trouble,
    limits=Limits(weights={API: ((200, 10),)}, connects=(300, 300)),
    listing=listing(
        API,
        (
            "spot/currency_pairs",
            "futures/usdt/contracts",
            "futures/btc/contracts",
            "futures/usd1/contracts",
            "delivery/usdt/contracts",
            "options/underlyings",
        ),
    ),
    history=history(
        API,
        {
            "spot": settled("spot", None),
            "futures/usdt": settled("perpetual", "USDT"),
            "futures/btc": settled("perpetual", "BTC"),
            "futures/usd1": settled("perpetual", "USD1"),
            "delivery/usdt": settled("future", "USDT"),
        },
    ),
    feeds=(
        stream("spot", "wss://api.gateio.ws/ws/v4/", SPOT, settled("spot", None)),
        stream("usdt", f"{FUTURES_WS}/usdt", PERPETUALS, settled("perpetual", "USDT")),
        stream("btc", f"{FUTURES_WS}/btc", PERPETUALS, settled("perpetual", "BTC")),
        stream("usd1", f"{FUTURES_WS}/usd1", PERPETUALS, settled("perpetual", "USD1")),
        stream(
            "delivery",
            f"{FUTURES_WS}/delivery/usdt",
            FUTURES,
            settled("future", "USDT"),
            "delivery/usdt",
        ),
        stream(
            "options",
            "wss://op-ws.gateio.live/v4/ws",
            OPTIONS,
            settled("option", "USDT"),
            "options",
        ),
    ),
    notes=(
        "A book is of 400 levels a side; dated futures have 100, options 50.",
        "A book of a market that is not there is accepted, and stays silent.",
        "Funding is told as current alone: what the exchange calls indicative, and has deprecated, is the same rate.",
        "Trades outside of the book, by which the insurance fund takes over a position, are of kind `liquidation`.",
        "Candles of options have no volume: what the exchange sends counts contracts.",
    ),
)
