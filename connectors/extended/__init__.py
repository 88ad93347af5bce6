"""Extended: perpetuals and spot on Starknet.

https://api.docs.extended.exchange
Every request wants to see a `User-Agent`.
"""

from collections.abc import Callable, Iterable, Sequence

from aggregator.exchange import Exchange, Heartbeat, Limits, Stream, Subscribe, Subscription
from aggregator.records import Channel, Instrument
from aggregator.refusals import coded
from aggregator.sequence import linked
from aggregator.wire import encode
from connectors.extended.frames import CHANNELS, SPOT, parser, topic
from connectors.extended.listing import LISTING, STATISTICS
from connectors.extended.wires import INTERVALS


def params(s: Subscription) -> dict[str, object]:
    scope, _, kind = CHANNELS[s.channel].partition(".")
    selector: dict[str, object] = {"market": s.raw_symbol}
    if scope == "orderbooks":
        selector |= {"depth": kind or "full", "rfqOnly": False}
    elif kind:
        selector["type"] = kind
    if s.channel == "candles":
        selector["interval"] = INTERVALS.get(s.interval, s.interval)
    return {"scope": scope, "selector": selector}


def asking(method: str, sign: int) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for s in {topic(s): s for s in wanted}.values():
            yield encode({"jsonrpc": "2.0", "id": str(sign * id), "method": method, "params": params(s)})

    return ask


def stream(name: str, channels: dict[Channel, str], serves: Callable[[Instrument], bool]) -> Stream:
    return Stream(
        name=name,
        url="wss://api.starknet.extended.exchange/stream.extended.exchange/v2/rpc",
        headers={"User-Agent": "aggregator"},
        channels=channels,
        serves=serves,
        topic=topic,
        subscribe=asking("subscribe", 1),
        unsubscribe=asking("unsubscribe", -1),
        parser=parser,
        tells_past=("trades",) if "trades" in channels else (),
        sequence={"book": linked},
        heartbeat=Heartbeat(every=30, frame=b'{"jsonrpc":"2.0","id":"0","method":"ping"}'),
        batch=1,  # an answer has the number of its request alone
        patience=90,  # a ping is answered, and a whole book comes each minute
    )


EXCHANGE = Exchange(
    id="extended",
    docs="https://api.docs.extended.exchange",
    checked="2026-09, live frames of others; 2026-11, its Python client 2.6.0 and ccxt 4.5.90",
    trouble=coded("code", "message", within="error", busy=("429",)),
    limits=Limits(weights={"https://api.starknet.extended.exchange/": ((1000, 60),)}),
    listing=LISTING,
    feeds=(
        stream("main", CHANNELS, lambda i: i.kind == "perpetual"),
        stream("spot", SPOT, lambda i: i.kind == "spot"),
        STATISTICS,
    ),
    notes=(
        "A book is whole again about once a minute; sizes of changes are those that stand there then.",
        "The funding rate is that of the running hour, as it is reckoned each minute; funding is exchanged each hour.",
        "Liquidations are trades so marked (`status` says how); nothing says which side was forced.",
        "Statistics and open interest come by REST. `USD` is USDC, which stands behind it.",
        "The time of a book is that of its message (`ts_sent`); a mark price has no time of its own.",
    ),
)
