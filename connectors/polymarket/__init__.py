"""Polymarket's perpetuals. Its prediction markets are another product, at other addresses, read in captures alone.

https://docs.polymarket.com/api-reference/perps/overview
"""

from collections.abc import Iterable, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Request, Stream, Subscribe, Subscription
from aggregator.records import MS_NS, Instrument
from aggregator.refusals import coded
from aggregator.wire import Text, encode, interval_s, number, optional, step
from connectors.polymarket.frames import CHANNELS, DEPTH, parse, topic

REST = "https://api.perpetuals.polymarket.com/v1"


class InstrumentWire(Struct):
    instrument_id: int
    instrument_type: str
    symbol: str  # `SP500-USD`: dollars are what prices are in, and pUSD what is paid
    base_asset: str
    quote_asset: str
    funding_interval: str = ""
    quantity_decimals: Text = None
    price_decimals: Text = None
    min_notional: Text = None
    ui_live_time: int | None = None  # in milliseconds


decode_rows = Decoder(list[Raw]).decode
decode_instrument = Decoder(InstrumentWire, strict=False, float_hook=number).decode


def read_instrument(row: Raw) -> Instrument | None:
    i = decode_instrument(row)
    if i.instrument_type != "perpetual":
        return None
    return Instrument(
        raw_symbol=str(i.instrument_id),
        kind="perpetual",
        base=i.base_asset.upper(),
        quote=i.symbol.rpartition("-")[2],
        settle=i.quote_asset.upper(),
        linear=True,
        contract_size="1",
        tick_size=step(i.price_decimals),
        lot_size=step(i.quantity_decimals),
        min_notional=optional(i.min_notional),
        ts_listed=None if i.ui_live_time is None else i.ui_live_time * MS_NS,
        funding_interval_s=interval_s(i.funding_interval),
    )


def asking(request: str, sign: int) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for channel in dict.fromkeys(map(topic, wanted)):
            yield encode({"id": sign * id, "req": request, "chs": [channel]})

    return ask


EXCHANGE = Exchange(
    id="polymarket",
    docs="https://docs.polymarket.com/api-reference/perps/overview",
    checked="2026-11, its documentation and ccxt 4.5.90",
    trouble=coded("error", busy=("ip_rate_limited",)),
    limits=Limits(weights={REST: ((1000, 60),)}),
    listing=Listing((Request(f"{REST}/info/instruments"),), decode_rows, read_instrument),
    feeds=(
        Stream(
            url="wss://ws.perpetuals.polymarket.com/v1/ws",
            channels={channel: f"{name}::" for channel, name in CHANNELS.items()},
            topic=topic,
            subscribe=asking("sub", 1),
            unsubscribe=asking("unsub", -1),
            parse=parse,
            heartbeat=Heartbeat(every=20, frame=b'{"id":0,"req":"post","op":{"type":"ping"}}'),
            depth=DEPTH,
            periodic_joins=True,  # prediction markets tell changes too
            batch=1,  # an answer names no channel
            patience=60,  # a ping is answered when there is nothing else to say
        ),
    ),
    notes=(
        "A raw symbol is the number of an instrument; its name is only in the listing.",
        "A book is whole each time: twenty levels a side, ten times a second.",
        "Its number (`sequence`) counts what the matching engine did, and grows by no fixed step.",
        "Funding is exchanged each hour. A ticker has the last price alone.",
        "Liquidations have no public channel, and the state of a market is not told.",
        "Prediction markets have no kind of instrument here, and are followed by nobody.",
        "Captures of their trades, books and best prices are read, each under the id of its token.",
    ),
)
