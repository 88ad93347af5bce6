"""dYdX: perpetuals on a chain of its own, as the indexer of version 4 tells them.

https://docs.dydx.xyz/indexer-client/websockets
Each validator has a book in its memory, and what matches leaves it when a block is made: until then the indexer's book
may be crossed.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import (
    Exchange,
    Heartbeat,
    Limits,
    Listing,
    Request,
    Stream,
    Subscribe,
    Subscription,
    Trouble,
)
from aggregator.records import HOUR_S, Channel, Instrument
from aggregator.refusals import fields_of
from aggregator.wire import Text, encode, number, optional
from connectors.dydx import legacy
from connectors.dydx.frames import CHANNELS, parse, topic
from connectors.dydx.history import history
from connectors.dydx.wires import STATES

REST = "https://indexer.dydx.trade/v4"
MOST = 32  # subscriptions to one channel on a connection


class MarketWire(Struct):
    ticker: str  # `BTC-USD`; a market that anybody proposed may have commas in it
    status: str
    tickSize: Text = None
    stepSize: Text = None


class Answer(Struct):
    markets: dict[str, Raw]


class Fault(Struct):
    msg: str = ""


decode_answer = Decoder(Answer).decode
decode_market = Decoder(MarketWire, strict=False, float_hook=number).decode
decode_faults = Decoder(list[Fault]).decode


def rows(body: bytes) -> Iterable[Raw]:
    return decode_answer(body).markets.values()


def read_market(row: Raw) -> Instrument:
    """A perpetual: it is named in dollars, and settles in USDC, which stands for them in all names."""
    m = decode_market(row)
    return Instrument(
        raw_symbol=m.ticker,
        kind="perpetual",
        base=m.ticker.removesuffix("-USD"),
        quote="USDC",
        settle="USDC",
        linear=True,
        contract_size="1",
        tick_size=optional(m.tickSize),
        lot_size=optional(m.stepSize),
        state=STATES.get(m.status, "unknown"),
        funding_interval_s=HOUR_S,
        funding_offset_s=0,
    )


def trouble(_: int, __: Mapping[str, str], body: bytes) -> Trouble | None:
    faults = fields_of(body).get("errors")
    return None if faults is None else Trouble("; ".join(fault.msg for fault in decode_faults(faults)))


def asking(kind: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for channel, id in dict.fromkeys(map(topic, wanted)):
            yield encode({"type": kind, "channel": channel, **({"id": id} if id else {})})

    return ask


def stream(name: str, *channels: Channel, most: int = MOST) -> Stream:
    return Stream(
        name=name,
        url="wss://indexer.dydx.trade/v4/ws",
        channels={channel: CHANNELS[channel] for channel in channels},
        topic=topic,
        subscribe=asking("subscribe"),
        unsubscribe=asking("unsubscribe"),
        parse=parse,
        crosses="book" in channels,
        heartbeat=Heartbeat(every=20, frame=b'{"type":"ping"}'),
        per_connection=most,
        pace=0.1,
        patience=60,
    )


EXCHANGE = Exchange(
    id="dydx",
    docs="https://docs.dydx.xyz/indexer-client/websockets",
    archives=(legacy.ARCHIVE,),
    checked="2026-03, the indexer's own source; 2026-11, ccxt 4.5.90",
    trouble=trouble,
    limits=Limits(weights={REST: ((100, 10),)}),
    listing=Listing((Request(f"{REST}/perpetualMarkets"),), rows, read_market),
    history=history(REST),
    feeds=(
        stream("trades", "trades", "liquidations"),
        stream("book", "book"),
        stream("candles", "candles"),
        stream("markets", "ticker", "funding", "open_interest", "index_price", "status", most=2000),
    ),
    notes=(
        "A book may be crossed until the next block: that opens no gap. It has neither numbers nor times.",
        "A trade's id is that of the taker's fill; `ts_event` is the time of its block.",
        "Liquidations are trades whose taker was liquidated or deleveraged.",
        "An index price is the oracle's; there is no mark price, and no best price beside the book's.",
        "Funding is exchanged each hour; the rate is a fraction of the running hour.",
        "Volume is in US dollars, which USDC stands for. From some countries nothing is answered.",
    ),
)
