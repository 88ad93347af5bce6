"""The Gate protocol, version 4: spot, perpetuals by the asset in which they settle, dated futures and options.

https://www.gate.com/docs/developers/apiv4/ws/en/
One socket serves spot, and one each asset in which contracts settle. Of the two books that are documented the newer one
(`obu`) is used where there is one: it begins with a whole book, and tells parts of a contract, which the older one
rounds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import structs

from aggregator.exchange import Archive, Exchange, Heartbeat, Limits, Stream, Subscribe, Subscription, Trouble
from aggregator.records import SECOND_NS, Channel, Instrument, Kind
from aggregator.refusals import coded
from aggregator.sequence import contiguous
from aggregator.wire import encode, ms, seconds
from connectors.families.gate.frames import BOOK_STREAM, FUTURES, OPTIONS, PERPETUALS, SPOT, parse
from connectors.families.gate.history import history
from connectors.families.gate.listing import PARTS, backfill, listing, snapshot
from connectors.families.gate.spot_wires import LONG

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
    api: str,
    path: str = "",
) -> Stream:
    """Declare one socket.

    api: the address of REST
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
        snapshot=snapshot(api, path, depth) if is_older else None,
        sequence={"book": contiguous, "trades": contiguous} if is_spot else {"book": contiguous},
        backfill=backfill(api) if is_spot else None,
        depth=depth,
        batch=1,
        pace=0.05,
        patience=40,  # a ping is answered when there is nothing else to say
    )


MARKETS: dict[str, tuple[dict[Channel, str], Callable[[Instrument], bool], str, str, str]] = {
    # a name: channels, whose they are, and below the address of REST: the listing, the past, whole books
    "spot": (SPOT, settled("spot", None), "spot/currency_pairs", "spot", ""),
    "usdt": (PERPETUALS, settled("perpetual", "USDT"), "futures/usdt/contracts", "futures/usdt", ""),
    "btc": (PERPETUALS, settled("perpetual", "BTC"), "futures/btc/contracts", "futures/btc", ""),
    "usd1": (PERPETUALS, settled("perpetual", "USD1"), "futures/usd1/contracts", "futures/usd1", ""),
    "delivery": (FUTURES, settled("future", "USDT"), "delivery/usdt/contracts", "delivery/usdt", "delivery/usdt"),
    "options": (OPTIONS, settled("option", "USDT"), "options/underlyings", "", "options"),
}


def exchange(
    id: str,
    *,
    api: str,
    ws: Mapping[str, str],
    checked: str,
    notes: tuple[str, ...] = (),
    archives: tuple[Archive, ...] = (),
) -> Exchange:
    """Declare an exchange that speaks Gate.

    api: the address of REST
    ws: the markets of `MARKETS` that it has, each with the address of its socket
    """
    markets = {name: MARKETS[name] for name in ws}
    return Exchange(
        id=id,
        docs="https://www.gate.com/docs/developers/apiv4/ws/en/",
        checked=checked,
        trouble=trouble,
        limits=Limits(weights={api: ((200, 10),)}, connects=(300, 300)),
        listing=listing(api, [listed for _, _, listed, _, _ in markets.values()]),
        history=history(api, {past: serves for _, serves, _, past, _ in markets.values() if past}),
        feeds=tuple(
            stream(name, ws[name], channels, serves, api, whole)
            for name, (channels, serves, _, _, whole) in markets.items()
        ),
        notes=notes,
        archives=archives,
    )
