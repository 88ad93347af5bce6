"""BloFin: perpetual contracts.

https://docs.blofin.com/index.html
Sizes count contracts, whose value in the base asset the listing tells.
"""

from collections.abc import Iterable, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Poll, Request, Stream, Subscribe, Subscription
from aggregator.records import Instrument, MarketState
from aggregator.refusals import coded
from aggregator.sequence import linked
from aggregator.wire import Text, at, encode, ms, number, optional, text, upper_unit
from connectors.blofin.frames import CHANNELS, parse, read_prices
from connectors.blofin.wires import DEPTHS

REST = "https://openapi.blofin.com/api/v1/market"
STATES: dict[str, MarketState] = {"live": "trading", "suspend": "halt"}
LINEAR = {"linear": True, "inverse": False}


class InstrumentWire(Struct):
    instId: str
    instType: str
    baseCurrency: str
    quoteCurrency: str
    contractValue: Text  # in the base asset
    contractType: str = ""
    settleCurrency: str = ""
    state: str = ""
    tickSize: Text = None
    lotSize: Text = None  # contracts, as the next two
    minSize: Text = None
    maxLimitSize: Text = None
    listTime: Text = None


decode_instrument = Decoder(InstrumentWire, float_hook=number).decode


def read_instrument(row: Raw) -> Instrument | None:
    """A perpetual contract; the socket has nothing else, and spot would go by the same names."""
    i = decode_instrument(row)
    if i.instType != "SWAP":
        return None
    return Instrument(
        raw_symbol=i.instId,
        kind="perpetual",
        base=i.baseCurrency,
        quote=i.quoteCurrency,
        settle=i.settleCurrency or i.quoteCurrency,
        linear=LINEAR.get(i.contractType),
        contract_size=text(i.contractValue),
        tick_size=optional(i.tickSize),
        lot_size=optional(i.lotSize),
        min_size=optional(i.minSize),
        max_size=optional(i.maxLimitSize),
        state=STATES.get(i.state, "unknown"),
        ts_listed=ms(i.listTime) if i.listTime else None,
    )


def asking(op: str) -> Subscribe:
    """One frame a topic: where one of a frame's is unknown, none of them is taken."""

    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        args = ({"channel": channel, "instId": name} for channel, name in map(topic, wanted))
        return [encode({"op": op, "args": [arg]}) for arg in args]

    return ask


def topic(s: Subscription) -> tuple[str, str]:
    return CHANNELS[s.channel] + (upper_unit(s.interval) if s.channel == "candles" else ""), s.raw_symbol


EXCHANGE = Exchange(
    id="blofin",
    docs="https://docs.blofin.com/index.html",
    trouble=coded("code", "msg", fine=("0",), busy=("429",)),
    checked="2026-09, a copy of its documentation of 2025-10: probes by others were refused",
    notes=(
        "Best bid and offer come with the ticker, once a second at most.",
        "Mark and index prices are asked for by REST.",
    ),
    limits=Limits(weights={REST: ((300, 60),)}, connects=(1, 1)),  # 1500 in five minutes, else an hour's ban
    listing=Listing((Request(f"{REST}/instruments"),), at("data"), read_instrument),
    feeds=(
        Stream(
            url="wss://openapi.blofin.com/ws/public",
            channels=CHANNELS,
            topic=topic,
            subscribe=asking("subscribe"),
            unsubscribe=asking("unsubscribe"),
            parse=parse,
            sequence={"book": linked},
            depth=DEPTHS["books"],
            heartbeat=Heartbeat(every=20, frame=b"ping"),
            patience=45,  # a ping is answered even when nothing else is to be said
        ),
        Poll(
            name="prices",
            channels=("mark_price", "index_price"),
            every=10,
            request=lambda _: Request(f"{REST}/mark-price"),
            parse=read_prices,
            many=True,
        ),
    ),
)
