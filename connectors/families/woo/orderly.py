"""Orderly, whose brokers share its listing, its books and its sockets: each is declared by its id alone.

https://orderly.network/docs/build-on-omnichain/websocket-api/introduction
https://github.com/OrderlyNetwork/js-sdk (`useIndexPrice`): the index of any perpetual, of a builder's too, is asked for
by its own name with SPOT for PERP: `SPOT_AAPL_USDC_mythos`. One that there is not is refused as "invalid index symbol"
(live probes by others, September 2026).
"""

import re
from collections.abc import Iterable, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Request, Snapshot, Stream, Subscribe, Subscription
from aggregator.records import HOUR_S, MS_NS, Instrument, MarketState
from aggregator.refusals import coded
from aggregator.sequence import spanning
from aggregator.wire import Text, encode, number, optional
from connectors.families.woo import CHANNELS, parse
from connectors.families.woo.frames import index_of

DOCS = "https://orderly.network/docs/build-on-omnichain/websocket-api/introduction"
ANYONE = "OqdphuyCtYWxwzhxyLLjOWNdFP7sQt8RPWzmb5xY"  # an address must name an account; Orderly's own SDK names this one
API = "https://api-evm.orderly.org/v1/public"

STATES: dict[str, MarketState] = {
    "ACTIVE": "trading",
    "REDUCE_ONLY": "reduce_only",
    "SUSPENDED": "halt",
    "DELISTED": "delisted",
}


class SymbolWire(Struct):
    symbol: str  # `PERP_BTC_USDC`, or `PERP_AAPL_USDC_mythos` of a builder
    broker_id: str | None = None  # the builder
    status: str = ""
    funding_period: int | None = None  # hours
    quote_tick: Text = None
    base_tick: Text = None
    base_min: Text = None
    base_max: Text = None
    min_notional: Text = None
    created_time: int | None = None


class Rows(Struct):
    rows: list[Raw]


class Symbols(Struct):
    data: Rows


OF_BUILDER = re.compile(rb'"broker_id":\s*"')
decode_symbols = Decoder(Symbols).decode
decode_symbol = Decoder(SymbolWire, float_hook=number).decode


def topic(s: Subscription) -> str:
    if s.channel == "liquidations":
        return CHANNELS[s.channel]  # the topic has all symbols
    if s.channel == "candles":
        return f"{s.raw_symbol}@kline_{s.interval}"
    name = index_of(s.raw_symbol) if s.channel == "index_price" else s.raw_symbol
    return f"{name}@{CHANNELS[s.channel]}"


def asking(event: str) -> Subscribe:
    """A request names one topic, and so does its id: an answer brings nothing but the id back."""

    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for name in dict.fromkeys(topic(s) for s in wanted):
            yield encode({"id": name, "event": event, "topic": name})

    return ask


def ask_book(raw_symbol: str, _: int) -> bytes:
    params = {"type": "orderbook", "symbol": raw_symbol}
    return encode({"id": f"{raw_symbol}@orderbook", "event": "request", "params": params})


def rows(body: bytes) -> Iterable[Raw]:
    """Orderly's own perpetuals first: a builder's of the same assets does not take their symbol."""
    return sorted(decode_symbols(body).data.rows, key=lambda row: OF_BUILDER.search(bytes(row)) is not None)


def read_symbol(row: Raw) -> Instrument | None:
    wire = decode_symbol(row)
    type, _, pair = wire.symbol.partition("_")
    if wire.broker_id:
        pair = pair.removesuffix(f"_{wire.broker_id}")
    base, _, quote = pair.rpartition("_")
    if type != "PERP" or not base:
        return None
    return Instrument(
        raw_symbol=wire.symbol,
        kind="perpetual",
        base=base,
        quote=quote,
        settle=quote,
        linear=True,
        contract_size="1",  # sizes are of the base asset
        tick_size=optional(wire.quote_tick),
        lot_size=optional(wire.base_tick),
        min_size=optional(wire.base_min),
        max_size=optional(wire.base_max),
        min_notional=optional(wire.min_notional),
        funding_interval_s=None if wire.funding_period is None else wire.funding_period * HOUR_S,
        state=STATES.get(wire.status, "unknown") if wire.status else "trading",
        ts_listed=None if wire.created_time is None else wire.created_time * MS_NS,
    )


def exchange(id: str, *, checked: str, notes: tuple[str, ...] = ()) -> Exchange:
    """Declare a broker of Orderly."""
    return Exchange(
        id=id,
        docs=DOCS,
        trouble=coded("code", "message", fine=("0",), busy=("-1003", "RATE_LIMIT_EXCEEDED")),
        limits=Limits(weights={API: ((10, 1),)}),
        listing=Listing((Request(f"{API}/info"),), rows, read_symbol),
        feeds=(
            Stream(
                url=f"wss://ws-evm.orderly.org/ws/stream/{ANYONE}",
                channels=CHANNELS,
                subscribe=asking("subscribe"),
                unsubscribe=asking("unsubscribe"),
                parse=parse,
                heartbeat=Heartbeat(every=10, frame=b'{"event":"ping"}'),
                snapshot=Snapshot(ask=ask_book, after_delta=False),
                sequence={"book": spanning},
                per_connection=100,
                patience=45,  # the exchange pings every ten seconds
                pace=0.05,
            ),
        ),
        checked=checked,
        notes=(
            "A builder's perpetual ends in the builder's name; where its symbol is taken, `~` and its raw name follow.",
            "Trades have no id.",
            "The funding rate is an estimate of the one that is exchanged next.",
            "Of a liquidation the exchange says how much was taken over, but neither side nor price.",
            "An index is told under its perpetual.",
            *notes,
        ),
    )
