"""Bitstamp.

https://www.bitstamp.net/websocket/v2/
Deltas and the REST book are both stamped in microseconds, which is what joins them; a hole does not show. The same
REST book is answered for about a second, unless it is asked for with a parameter that nobody has asked with.
https://www.bitstamp.net/derivatives/perpetual-futures/trading-information/
No answer says how long a funding interval is; this page says it of all: eight hours.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import (
    Accepted,
    Event,
    Exchange,
    Hangup,
    Heartbeat,
    Limits,
    Listing,
    Poll,
    Refused,
    Request,
    Snapshot,
    Stream,
    Subscribe,
    Subscription,
    Trouble,
)
from aggregator.records import (
    DAY_S,
    HOUR_S,
    BookDelta,
    BookSnapshot,
    Channel,
    Funding,
    IndexPrice,
    Instrument,
    Levels,
    MarkPrice,
    Record,
    Ticker,
    Trade,
)
from aggregator.refusals import meaning_of
from aggregator.sequence import ordered
from aggregator.wire import Text, encode, nonzero, number, seconds, step, text, us

API = "https://www.bitstamp.net/api/v2"
CHANNELS: dict[Channel, str] = {"trades": "live_trades", "book": "diff_order_book"}
PERPETUAL: dict[Channel, str] = {
    "funding": "funding_rate",
    "mark_price": "funding_rate",
    "index_price": "funding_rate",
}
NAMES = CHANNELS | PERPETUAL
EIGHT_HOURS_S = 8 * HOUR_S
BAD_REQUEST = 400
TOO_MANY = {"400.002", "400.067", "400.068"}  # too many requests of an address, of a client, for a market
BEAT = Heartbeat(every=20, frame=b'{"event":"bts:heartbeat"}')


class Frame(Struct):
    event: str
    channel: str = ""  # the exchange's channel, `_`, the market
    data: Raw = Raw(b"{}")


class TradeWire(Struct, gc=False):
    microtimestamp: Text
    id: int | None = None
    id_str: str | None = None  # the same; of perpetuals alone, whose ids are longer than JavaScript's numbers
    type: int | None = None  # the taker 0 bought, 1 sold
    order_type: int | None = None  # its name of old
    price_str: str | None = None
    amount_str: str | None = None
    price: Text = None
    amount: Text = None

    def records(self, raw_symbol: str) -> Iterable[Record]:
        kind = self.order_type if self.type is None else self.type
        trade = Trade(
            raw_symbol=raw_symbol,
            id=self.id_str or text(self.id),
            price=self.price_str or text(self.price),
            size=self.amount_str or text(self.amount),
            side=None if kind is None else "sell" if kind else "buy",
            ts_event=us(text(self.microtimestamp)),
        )
        return (trade,)


class BookWire(Struct, gc=False):
    microtimestamp: str
    bids: list[list[str]]
    asks: list[list[str]]

    def records(self, raw_symbol: str) -> Iterable[Record]:
        at, bids, asks = int(self.microtimestamp), pairs(self.bids), pairs(self.asks)
        return (BookDelta(raw_symbol=raw_symbol, bids=bids, asks=asks, sequence=at, ts_event=at * 1000),)


class WholeWire(BookWire, gc=False):
    def records(self, raw_symbol: str) -> Iterable[Record]:
        return (self.snapshot(raw_symbol, "periodic"),)

    def snapshot(self, raw_symbol: str, reason: Literal["initial", "periodic"] = "initial") -> BookSnapshot:
        at, bids, asks = int(self.microtimestamp), pairs(self.bids), pairs(self.asks)
        return BookSnapshot(raw_symbol=raw_symbol, bids=bids, asks=asks, sequence=at, ts_event=at * 1000, reason=reason)


class FundingWire(Struct):
    funding_rate: str
    timestamp: str
    next_funding_time: str
    mark_price: str | None = None
    index_price: str | None = None

    def records(self, raw_symbol: str) -> Iterable[Record]:
        at, due = seconds(self.timestamp), seconds(self.next_funding_time)
        if self.funding_rate:
            yield Funding(raw_symbol=raw_symbol, rate=self.funding_rate, ts_next=due, ts_event=at)
        if mark := nonzero(self.mark_price):
            yield MarkPrice(raw_symbol=raw_symbol, price=mark, ts_event=at)
        if index := nonzero(self.index_price):
            yield IndexPrice(raw_symbol=raw_symbol, price=index, ts_event=at)


class Said(Struct):
    message: str = ""


class Fault(Struct):
    """The body of an answer with HTTP 400."""

    response_code: str = ""


decode = Decoder(Frame).decode
decode_whole = Decoder(WholeWire).decode
decode_said = Decoder(Said).decode
decode_fault = Decoder(Fault).decode
READERS: dict[tuple[str, str], Callable[[Raw], TradeWire | BookWire | FundingWire]] = {
    ("diff_order_book", "data"): Decoder(BookWire).decode,
    ("order_book", "data"): decode_whole,
    ("live_trades", "trade"): Decoder(TradeWire, float_hook=number).decode,
    ("funding_rate", "funding_rate_saved"): Decoder(FundingWire).decode,
}


def pairs(rows: list[list[str]]) -> Levels:
    return [(row[0], row[1]) for row in rows]


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    wire, _, raw_symbol = said.channel.rpartition("_")
    read = READERS.get((wire, said.event))
    return parse_other(said, wire, raw_symbol) if read is None else read(said.data).records(raw_symbol)


def parse_other(said: Frame, wire: str, raw_symbol: str) -> Iterable[Event]:
    ours = [channel for channel, name in NAMES.items() if name == wire]
    if said.event == "bts:subscription_succeeded":
        return [Accepted(channel=channel, raw_symbol=raw_symbol) for channel in ours]
    if said.event == "bts:request_reconnect":
        return (Hangup(said.event),)
    if said.event == "bts:error":
        reason = decode_said(said.data).message
        meaning = meaning_of(reason, final=("bad subscription string",))
        named = [Refused(reason, channel=channel, raw_symbol=raw_symbol, meaning=meaning) for channel in ours]
        return named or (Refused(reason, meaning=meaning),)
    return ()


def asking(event: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        named = dict.fromkeys(f"{NAMES[s.channel]}_{s.raw_symbol}" for s in wanted)
        return [encode({"event": event, "data": {"channel": channel}}) for channel in named]

    return ask


def read_book(raw_symbol: str, body: bytes) -> BookSnapshot:
    return decode_whole(body).snapshot(raw_symbol)


def trouble(status: int, _: Mapping[str, str], body: bytes) -> Trouble | None:
    """The trouble of an exchange that was asked too much: its documentation has codes for that, and no HTTP status."""
    if status != BAD_REQUEST or decode_fault(body).response_code not in TOO_MANY:
        return None
    return Trouble(body[:200].decode(errors="replace"), is_busy=True)


class TickerWire(Struct):
    pair: str  # `BTC/USD`
    timestamp: str
    last: str | None = None
    high: str | None = None
    low: str | None = None
    volume: str | None = None
    vwap: str | None = None
    open_24: str | None = None  # 24 hours ago; `open` is the day's

    def record(self) -> Record:
        return Ticker(
            raw_symbol=market(self.pair),
            last=nonzero(self.last),
            open=nonzero(self.open_24),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=self.volume,
            vwap=nonzero(self.vwap),
            window_s=DAY_S,
            ts_sent=seconds(self.timestamp),
        )


decode_tickers = Decoder(list[TickerWire]).decode


def market(pair: str) -> str:
    """A market's name in addresses and channels: `BTC/USD-PERP` is `btcusd-perp`."""
    return pair.replace("/", "").lower()


def read_tickers(_: str, body: bytes) -> Iterable[Record]:
    return [ticker.record() for ticker in decode_tickers(body)]


class MarketWire(Struct):
    name: str
    base_decimals: int
    counter_decimals: int
    trading: str = "Enabled"
    contract_size: str | None = None
    minimum_order_amount: str | None = None
    maximum_order_amount: str | None = None
    minimum_order_value: str | None = None
    minimum_order: str = ""  # its form of old: `20.0 USD`


decode_markets = Decoder(list[Raw]).decode
decode_market = Decoder(MarketWire).decode


def read_market(row: Raw) -> Instrument:
    wire = decode_market(row)
    base, _, quote = wire.name.removesuffix("-PERP").partition("/")
    is_perpetual = wire.name.endswith("-PERP")
    return Instrument(
        raw_symbol=market(wire.name),
        kind="perpetual" if is_perpetual else "spot",
        base=base,
        quote=quote,
        settle=quote if is_perpetual else None,
        linear=True if is_perpetual else None,
        contract_size=wire.contract_size or "1" if is_perpetual else None,
        tick_size=step(wire.counter_decimals),
        lot_size=step(wire.base_decimals),
        min_size=wire.minimum_order_amount,
        max_size=wire.maximum_order_amount,
        min_notional=wire.minimum_order_value or wire.minimum_order.partition(" ")[0] or None,
        state="trading" if wire.trading == "Enabled" else "halt",
        funding_interval_s=EIGHT_HOURS_S if is_perpetual else None,
    )


EXCHANGE = Exchange(
    id="bitstamp",
    docs="https://www.bitstamp.net/websocket/v2/",
    notes=(
        "There is no ticker stream: it is asked for by REST.",
        "A hole in the book's deltas cannot be seen.",
        "Single orders (channel `live_orders`) have no numbers, and are not followed.",
        "Outside of its hours the index of metals, oil, currencies and funds is made from the perpetual's own book.",
    ),
    checked="2026-09, live probes by others, and its changelog",
    limits=Limits(weights={API: ((400, 1), (10_000, 600))}),
    trouble=trouble,
    listing=Listing((Request(f"{API}/markets/"),), decode_markets, read_market),
    feeds=(
        Stream(
            url="wss://ws.bitstamp.net",
            channels=CHANNELS,
            subscribe=asking("bts:subscribe"),
            unsubscribe=asking("bts:unsubscribe"),
            parse=parse,
            snapshot=Snapshot(request=lambda s: Request(f"{API}/order_book/{s}/", fresh="_"), parse=read_book),
            sequence={"book": ordered},
            heartbeat=BEAT,
            pace=0.05,
        ),
        Stream(
            name="perpetual",
            url="wss://ws.bitstamp.net",
            channels=PERPETUAL,
            serves=lambda instrument: instrument.kind == "perpetual",
            subscribe=asking("bts:subscribe"),
            unsubscribe=asking("bts:unsubscribe"),
            parse=parse,
            heartbeat=BEAT,
            pace=0.05,
        ),
        Poll(
            channels=("ticker",), every=10, request=lambda _: Request(f"{API}/ticker/"), parse=read_tickers, many=True
        ),
    ),
)
