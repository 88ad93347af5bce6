"""BitoPro, spot: the address of a stream names its pairs, and every message is whole.

https://github.com/bitoex/bitopro-offical-api-docs/tree/master/ws/public
Its `datetime` is Taiwan's time, written as if it were UTC; `timestamp` is right. A depth that is not offered becomes 5.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Raw
from msgspec.json import Decoder

from aggregator.exchange import Event, Exchange, Limits, Listing, Parse, Poll, Request, Stream, Subscription
from aggregator.records import Channel, Instrument
from aggregator.refusals import coded
from aggregator.wire import at, step
from connectors.bitopro.rest import API, ask_candles, read_candles
from connectors.bitopro.wires import BookWire, Market, TickerWire, TradeRow, TradesWire

DEPTH = 50  # levels a side, the most that there are

decode = Decoder(BookWire | TradesWire | TickerWire).decode
decode_market = Decoder(Market).decode


def parser() -> Parse:
    before: dict[str, list[TradeRow]] = {}

    def parse(frame: bytes) -> Iterable[Event]:
        said = decode(frame)
        if isinstance(said, TradesWire):
            last, before[said.pair] = before.get(said.pair), said.data
            return said.new(last)
        return (said.record(),)

    return parse


def address(kind: str, depth: str = "") -> Callable[[Sequence[Subscription]], str]:
    """The address of one kind of messages, of these pairs."""

    def of(wanted: Sequence[Subscription]) -> str:
        pairs = ",".join(f"{s.raw_symbol.upper()}{depth}" for s in wanted)
        return f"wss://stream.bitopro.com/ws/v1/pub/{kind}?pairs={pairs}"

    return of


def listen(channel: Channel, kind: str, depth: str = "") -> Stream:
    return Stream(
        name=kind,
        url=address(kind, depth),
        channels={channel: kind},
        subscribe=lambda _, __: (),
        parser=parser,
        depth=DEPTH if channel == "book" else None,
        per_connection=50,
        patience=3600,  # a pair may be that quiet, and the exchange pings by the protocol each second
        acknowledges=False,
    )


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    return Instrument(
        raw_symbol=m.pair,
        base=m.base.upper(),
        quote=m.quote.upper(),
        tick_size=step(m.quotePrecision),
        lot_size=step(m.basePrecision),
        min_size=m.minLimitBaseAmount,
        max_size=m.maxLimitBaseAmount,
        state="halt" if m.maintain else "trading",
    )


EXCHANGE = Exchange(
    id="bitopro",
    docs="https://github.com/bitoex/bitopro-offical-api-docs",
    checked="2026-09, live probes by others; 2026-11, its documentation",
    trouble=coded("error"),
    notes=(
        "A book comes whole, 50 levels a side; from its second message on, sizes are rounded (`amountPrecision`).",
        "Trades have no id: the list of the last ones comes each time, and what the list before held is left out.",
        "The side of a trade is the taker's as ccxt reads it; the documentation does not say.",
        "The highest and lowest price of its ticker are the last one (September 2026), and are left out.",
        "A pair that there is not is left out without a word.",
        "Candles are of one minute alone, and are asked for; a minute without a trade has none.",
    ),
    limits=Limits(weights={"https://api.bitopro.com": ((600, 60),)}),
    listing=Listing((Request(f"{API}/provisioning/trading-pairs"),), at("data"), read_market),
    feeds=(
        listen("trades", "trades"),
        listen("book", "order-books", f":{DEPTH}"),
        listen("ticker", "tickers"),
        Poll(name="candles", channels=("candles",), every=60, request=ask_candles, parse=read_candles),
    ),
)
