"""Pacifica: perpetuals and spot on Solana.

https://docs.pacifica.fi
Older pages write `aggLevel` where a book is asked for, and `agg_level` is what clients of 2026 send.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Request, Stream, Subscribe, Subscription
from aggregator.records import DAY_S, HOUR_S, MS_NS, Channel, Instrument
from aggregator.refusals import coded
from aggregator.wire import Text, at, encode, number, optional
from connectors.pacifica.frames import CHANNELS, SPOT, parse, topic
from connectors.pacifica.wires import DEPTH

REST = "https://api.pacifica.fi/api/v1"


class MarketWire(Struct):
    symbol: str  # `BTC` is a perpetual, `SOL-USDC` is spot
    instrument_type: str = "perpetual"
    base_asset: str = ""
    tick_size: Text = None
    lot_size: Text = None
    min_order_size: Text = None  # in US dollars
    created_at: int | None = None


decode_market = Decoder(MarketWire, strict=False, float_hook=number).decode


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    base, _, quote = m.symbol.partition("-")
    is_spot = m.instrument_type == "spot"
    return Instrument(
        raw_symbol=m.symbol,
        kind="spot" if is_spot else "perpetual",
        base=(m.base_asset or base).upper(),  # `kBONK` is a thousand
        quote=quote if is_spot and quote else "USDC",
        settle=None if is_spot else "USDC",
        linear=None if is_spot else True,
        contract_size=None if is_spot else "1",
        tick_size=optional(m.tick_size),
        lot_size=optional(m.lot_size),
        min_notional=optional(m.min_order_size),
        ts_listed=None if m.created_at is None else m.created_at * MS_NS,
        funding_interval_s=None if is_spot else HOUR_S,
        funding_offset_s=None if is_spot else 0,
    )


def asking(method: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for source, symbol, interval in dict.fromkeys(map(topic, wanted)):
            words: dict[str, object] = {"symbol": symbol, "interval": interval, "agg_level": int(source == "book")}
            params = {"source": source, **{word: said for word, said in words.items() if said}}
            yield encode({"method": method, "params": params})

    return ask


def stream(name: str, channels: dict[Channel, str], serves: Callable[[Instrument], bool]) -> Stream:
    return Stream(
        name=name,
        url="wss://ws.pacifica.fi/ws",
        channels=channels,
        serves=serves,
        topic=topic,
        subscribe=asking("subscribe"),
        unsubscribe=asking("unsubscribe"),
        parse=parse,
        depth=DEPTH,
        heartbeat=Heartbeat(every=20, frame=b'{"method":"ping"}'),  # it closes after a minute without a word
        per_connection=20,  # so many are allowed of each source
        batch=1,  # a refusal may name nothing
        patience=60,  # a ping is answered when there is nothing else to say
    )


EXCHANGE = Exchange(
    id="pacifica",
    docs="https://docs.pacifica.fi/api-documentation/api/websocket",
    checked="2026-09, live readings of its funding by others; 2026-11, its documentation and ccxt 4.5.90",
    trouble=coded("code", "error", busy=("429",)),
    limits=Limits(weights={REST: ((100, 60),)}, connections=300, lifetime=DAY_S),
    listing=Listing((Request(f"{REST}/info"),), at("data"), read_market),
    feeds=(
        stream("main", CHANNELS, lambda i: i.kind == "perpetual"),
        stream("spot", SPOT, lambda i: i.kind == "spot"),
    ),
    notes=(
        "A book is whole each time; its number (`sequence`) is that of the last order, which grows by no fixed step.",
        "Funding is exchanged each hour: the rate of the hour that runs is fixed, that of the next one `predicted`.",
        "An index price is the oracle's. A ticker has the day's volume in dollars, and no price.",
        "A liquidation is a trade so marked: the taker was forced.",
        "The state of a market is not told.",
    ),
)
