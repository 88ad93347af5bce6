"""Bitget, version 2: spot, and futures in USDT, in USDC and in coins, by OKX's `op` and `args`.

https://www.bitget.com/api-doc/common/websocket-intro
"""

from collections.abc import Callable, Iterable, Sequence

from aggregator.exchange import Exchange, Heartbeat, Limits, Older, Stream, Subscribe, Subscription
from aggregator.records import DAY_S, Instrument
from aggregator.refusals import coded
from aggregator.sequence import Rule, Verdict, linked, ordered
from aggregator.wire import encode
from connectors.bitget.frames import FUTURES, KEPT, LIQUIDATIONS, SPOT, parse
from connectors.bitget.history import ways
from connectors.bitget.listing import listing
from connectors.families.okx import bar_name, checksum

REST = "https://api.bitget.com"
WS = "wss://ws.bitget.com"
QUOTES = {"USDT-FUTURES": "USDT", "USDC-FUTURES": "USDC", "COIN-FUTURES": "USD"}  # types of futures, told by quote
PING = Heartbeat(every=25, frame=b"ping")
PATIENCE_S = 60  # a ping is answered even when nothing else is to be said


def joins(last: int, first: int, final: int, before: int | None) -> Verdict:
    """The rule is `linked`. Until 2026 a message did not tell the number before it, and numbers only grew."""
    return (ordered if before is None else linked).joins(last, first, final, before)


def follows(last: int, first: int, final: int, before: int | None) -> Verdict:
    return (ordered if before is None else linked).follows(last, first, final, before)


NUMBERED = Rule(linked.name, joins, follows)


def topic(s: Subscription) -> tuple[str, str]:
    channel = FUTURES[s.channel]
    return channel + (bar_name(s.interval) if s.channel == "candles" else ""), s.raw_symbol


def asking(op: str, type: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        args = [{"instType": type, "channel": channel, "instId": name} for channel, name in map(topic, wanted)]
        yield encode({"op": op, "args": args})

    return ask


def stream(name: str, type: str, serves: Callable[[Instrument], bool]) -> Stream:
    """Declare the part of the socket that is about one type of instruments."""
    return Stream(
        name=name,
        url=f"{WS}/v2/ws/public",
        channels=SPOT if type == "SPOT" else FUTURES,
        serves=serves,
        topic=topic,
        subscribe=asking("subscribe", type),
        unsubscribe=asking("unsubscribe", type),
        parse=parse,
        sequence={"book": NUMBERED},
        checksum=checksum,
        depth=KEPT[type],
        heartbeat=PING,
        patience=PATIENCE_S,
        per_connection=200,
        batch=50,  # a frame may have 4096 bytes
        pace=0.2,
    )


def liquidations() -> Stream:
    """Declare the socket of liquidations, which come by type of contracts, whatever is asked for."""

    def ask(op: str) -> Subscribe:
        frame = encode({"op": op, "args": [{"instType": type.lower(), "topic": "liquidation"} for type in QUOTES]})
        return lambda _wanted, _id: (frame,)

    return Stream(
        name="liquidations",
        url=f"{WS}/v3/ws/public",
        channels=LIQUIDATIONS,
        serves=lambda i: i.kind != "spot",
        topic=lambda _: ("liquidation", None),
        subscribe=ask("subscribe"),
        parse=parse,
        heartbeat=PING,
        patience=PATIENCE_S,
        per_connection=100_000,
        batch=100_000,
    )


def quoted_in(asset: str) -> Callable[[Instrument], bool]:
    return lambda instrument: instrument.kind != "spot" and instrument.quote == asset


EXCHANGE = Exchange(
    id="bitget",
    older=(Older(channels=("trades", "book", "ticker", "candles"), until="2025"),),
    docs="https://www.bitget.com/api-doc/common/websocket-intro",
    checked="2026-09, live probes by others",
    trouble=coded("code", "msg", fine=("00000",), busy=("429",)),
    limits=Limits(
        weights={REST: ((20, 1),)}, connects=(300, 300), connections=100, requests=(240, 3600), lifetime=DAY_S
    ),
    listing=listing(REST, QUOTES),
    history=(
        *ways(REST, None, lambda i: i.kind == "spot"),
        *(way for type, quote in QUOTES.items() for way in ways(REST, type, quoted_in(quote))),
    ),
    feeds=(
        stream("spot", "SPOT", lambda i: i.kind == "spot"),
        *(stream(type.lower(), type, quoted_in(quote)) for type, quote in QUOTES.items()),
        liquidations(),
    ),
    notes=(
        "Sizes of all contracts are of the base asset, those of coin-margined ones too.",
        "A change of a book names the number before it, since 2026; before that the checksum showed a hole.",
        "Books have 500 levels a side, those of contracts in USDC and in coins 200.",
        "Liquidations come from version 3: of each second the largest of each side, with the position's side.",
    ),
)
