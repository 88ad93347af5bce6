"""Phemex.

https://phemex-docs.github.io/#contract-websocket-api
A request names one symbol, and an answer only the request; the figures of 24 hours come for a whole market at once.
"""

from collections.abc import Iterable, Mapping, Sequence

from aggregator.exchange import Exchange, Heartbeat, Limits, Stream, Subscription, Trouble
from aggregator.records import Channel, Instrument, Kind
from aggregator.refusals import coded
from aggregator.sequence import ordered
from aggregator.wire import encode
from connectors.phemex.frames import parse
from connectors.phemex.listing import listing
from connectors.phemex.wires import INTERVALS, is_spot

API = "https://api.phemex.com"
CHANNELS: dict[Channel, str] = {"trades": "trade", "book": "orderbook", "candles": "kline"}
SPOT_FIGURES: dict[Channel, str] = {"ticker": "spot_market24h"}
FIGURES: dict[Channel, str] = {
    "ticker": "market24h",
    "funding": "market24h",
    "open_interest": "market24h",
    "mark_price": "market24h",
    "index_price": "market24h",
}
TOO_MANY, WAIT = 429, "x-ratelimit-retry-after"
OLDER = "USD"  # how the symbols of the older contracts end
SECONDS = {interval: seconds for seconds, interval in INTERVALS.items()}
PING = encode({"id": 0, "method": "server.ping", "params": []})


def is_newer(raw_symbol: str) -> bool:
    return not is_spot(raw_symbol) and not raw_symbol.endswith(OLDER)


def subscribe(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    for s in wanted:
        method = CHANNELS[s.channel] + ("_p" if is_newer(s.raw_symbol) else "")
        params: list[str | int] = [s.raw_symbol]
        if s.channel == "candles":
            params.append(SECONDS.get(s.interval, s.interval))
        yield encode({"id": id, "method": f"{method}.subscribe", "params": params})


def unsubscribe(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    """A book cannot be left alone: leaving is of all at once. To ask for one again brings it whole again."""
    for s in wanted:
        method = CHANNELS[s.channel] + ("_p" if is_newer(s.raw_symbol) else "")
        if s.channel != "book":
            yield encode({"id": id, "method": f"{method}.unsubscribe", "params": [s.raw_symbol]})


def subscribe_figures(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    for method in dict.fromkeys(figures_of(s.raw_symbol) for s in wanted):
        yield encode({"id": id, "method": f"{method}.subscribe", "params": []})


def figures_of(raw_symbol: str) -> str:
    if is_spot(raw_symbol):
        return "spot_market24h"
    return "perp_market24h_pack_p" if is_newer(raw_symbol) else "market24h"


def market(kind: Kind) -> Stream:
    def serves(instrument: Instrument) -> bool:
        return instrument.kind == kind

    return Stream(
        name=kind,
        url="wss://ws.phemex.com",
        channels=CHANNELS,
        serves=serves,
        subscribe=subscribe,
        unsubscribe=unsubscribe,
        parse=parse,
        sequence={"book": ordered},
        depth=30,
        heartbeat=Heartbeat(every=5, frame=PING),
        patience=15,  # three heartbeats, as the documentation advises
        per_connection=100,
        batch=1,
        pace=0.06,  # twenty requests a second are allowed
    )


def figures(kind: Kind, channels: dict[Channel, str]) -> Stream:
    def serves(instrument: Instrument) -> bool:
        return instrument.kind == kind

    return Stream(
        name=f"{kind}-figures",
        url="wss://ws.phemex.com",
        channels=channels,
        serves=serves,
        subscribe=subscribe_figures,
        parse=parse,
        heartbeat=Heartbeat(every=5, frame=PING),
        patience=15,
        per_connection=10_000,
        batch=10_000,
    )


says = coded("code", "msg", fine=("0",))


def trouble(status: int, headers: Mapping[str, str], body: bytes) -> Trouble | None:
    """How long a limit lasts stands in a header of its own, in seconds; its name may end in the group's.

    https://github.com/phemex/phemex-api-docs/blob/master/Generic-API-Info.en.md
    """
    said = says(status, headers, body)
    waits = [int(seconds) for name, seconds in headers.items() if name.startswith(WAIT) and seconds.isdecimal()]
    if status != TOO_MANY or not waits:
        return said
    words = f"HTTP {status}: {body[:200].decode(errors='replace')}" if said is None else said.words
    return Trouble(words, is_busy=True, wait=max(waits))


EXCHANGE = Exchange(
    id="phemex",
    docs="https://phemex-docs.github.io/#contract-websocket-api",
    trouble=trouble,
    limits=Limits(weights={API: ((100, 60),)}, connects=(200, 300), connections=5),
    listing=listing(API),
    feeds=(  # the figures of all markets first: of four connections they take one each, and what is left the others
        figures("spot", SPOT_FIGURES),
        figures("perpetual", FIGURES),
        market("spot"),
        market("perpetual"),
    ),
    checked="2026-09, live probes by others; 2026-11, ccxt 4.5.90",
    notes=(
        "Frames do not say how their integers are scaled: a product of another scale than its market's is left out.",
        "Volumes of the older contracts, whose symbols end in USD, count contracts, and are not told.",
        "Trades have no id. The book is thirty levels a side; its numbers grow by no fixed step.",
        "There are five connections to an address, of a hundred topics each: the next is refused with 6015.",
        "One of them is kept for REST: where more topics are wanted than the others hold, their state says so.",
        "The figures of 24 hours come every three seconds.",
        "The current and the predicted rate are one number, as a rule: then it is told once, as `current`.",
        "Ticks of an index and a mark price cannot be told apart where a name begins with M: they are not asked for.",
        "Captures of ticks give the rates, and the indices whose names begin with another letter.",
    ),
)
