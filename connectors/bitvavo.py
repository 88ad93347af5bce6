"""Bitvavo, spot.

https://docs.bitvavo.com/docs/websocket-api/introduction/
Prices of changes have more zeros than those of a whole book (2026-09, live probes by others): a book compares numbers.
Captures may also be of Market Data Pro, which wants keys and is not asked: its books name the range of changes that
they hold (https://docs.bitvavo.com/docs/ws-market-data-pro-sync).
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import (
    Accepted,
    Event,
    Exchange,
    Heartbeat,
    Limits,
    Listing,
    Parse,
    Refused,
    Request,
    Snapshot,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import (
    DAY_S,
    BookDelta,
    BookSnapshot,
    Candle,
    Channel,
    Instrument,
    MarketState,
    Side,
    Ticker,
    Trade,
)
from aggregator.refusals import coded, named_in
from aggregator.sequence import contiguous
from aggregator.wire import Text, bbo, either, encode, end_of, levels, ms, nonzero, optional, step, symbols_by, text

API = "https://api.bitvavo.com/v2"
DEPTH = 1000  # levels a side of a whole book
CHANNELS: dict[Channel, str] = {
    "trades": "trades",
    "book": "book",
    "bbo": "ticker",
    "ticker": "ticker24h",
    "candles": "candles",
}
STATES: dict[str, MarketState] = {
    "trading": "trading",
    "halted": "halt",
    "auction": "pre_open",
    "auctionMatching": "pre_open",
    "cancelOnly": "cancel_only",
}
WEEK, WIRE_WEEK = "1w", "1W"  # the one interval that is spelled in another way than ours
NO_MARKET = 205
BUSY = {105, 112}  # the limit of weights, and that of frames a second
NAME = re.compile(r"market parameter (\S+) is invalid")


class TradeWire(Struct, tag_field="event", tag="trade", gc=False):
    market: str
    id: str
    price: str
    amount: str
    side: Side  # the taker's
    timestamp: int
    timestampNs: int | None = None

    def events(self) -> Iterable[Event]:
        yield Trade(
            raw_symbol=self.market,
            id=self.id,
            price=text(self.price),
            size=text(self.amount),
            side=self.side,
            ts_event=ms(self.timestamp) if self.timestampNs is None else self.timestampNs,
        )


class BookWire(Struct, tag_field="event", tag="book", gc=False):
    """Changes, numbered by `nonce`; in Market Data Pro, which may leave that out, by the changes that they hold."""

    market: str
    bids: list[list[Text]]
    asks: list[list[Text]]
    nonce: int | None = None
    startMdSeqNo: int | None = None
    endMdSeqNo: int | None = None
    timestamp: int | None = None  # in nanoseconds

    def events(self) -> Iterable[Event]:
        yield BookDelta(
            raw_symbol=self.market,
            bids=levels(self.bids),
            asks=levels(self.asks),
            sequence=numbered(self.market, self.endMdSeqNo, self.nonce),
            sequence_first=self.startMdSeqNo,
            ts_event=self.timestamp,
        )


class BestWire(Struct, tag_field="event", tag="ticker", gc=False):
    """One side alone, mostly: that which has changed."""

    market: str
    bestBid: Text = None
    bestBidSize: Text = None
    bestAsk: Text = None
    bestAskSize: Text = None


class DayRow(Struct, gc=False):
    market: str
    timestamp: int
    open: Text = None
    high: Text = None
    low: Text = None
    last: Text = None
    volume: Text = None
    volumeQuote: Text = None

    def event(self) -> Event:
        return Ticker(
            raw_symbol=self.market,
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            last=nonzero(self.last),
            base_volume=optional(self.volume),
            quote_volume=optional(self.volumeQuote),
            window_s=DAY_S,
            ts_event=ms(self.timestamp),
        )


class DayWire(Struct, tag_field="event", tag="ticker24h", gc=False):
    data: list[DayRow] | DayRow  # a list is sent, and the documentation shows one row

    def events(self) -> Iterable[Event]:
        return [row.event() for row in (self.data if isinstance(self.data, list) else [self.data])]


class CandleWire(Struct, tag_field="event", tag="candle", gc=False):
    market: str
    interval: str
    candle: list[tuple[int, str, str, str, str, str]]

    def events(self) -> Iterable[Event]:
        interval = WEEK if self.interval == WIRE_WEEK else self.interval
        for start, first, high, low, last, volume in self.candle:
            yield Candle(
                raw_symbol=self.market,
                interval=interval,
                ts_open=ms(start),
                ts_close=end_of(interval, ms(start)),
                open=text(first),
                high=text(high),
                low=text(low),
                close=text(last),
                base_volume=text(volume),
            )


def numbered(market: str, pro: int | None, nonce: int | None) -> int:
    """The number of a book: that of Market Data Pro, where it is told."""
    found = nonce if pro is None else pro
    if found is None:
        raise BadFrame(f"a book of {market:.40} without a number")
    return found


class AnswerWire(Struct, tag_field="event", tag="subscribed"):
    """Everything that stands, by channel; candles by interval, too."""

    subscriptions: dict[str, list[str] | dict[str, list[str]]]

    def events(self) -> Iterable[Event]:
        for word, markets in self.subscriptions.items():
            parts = markets if isinstance(markets, dict) else {"": markets}
            for interval, names in parts.items():
                yield from (Accepted(topic=(word, interval, name)) for name in names)


class StandingBooks(Struct):
    """The same answer as Market Data Pro gives it: its event is named like those that follow, `book`."""

    subscriptions: dict[str, list[str]]

    def events(self) -> Iterable[Event]:
        return AnswerWire({**self.subscriptions}).events()


class WholeBook(Struct):
    market: str
    bids: list[list[Text]]
    asks: list[list[Text]]
    nonce: int | None = None
    mdSeqNo: int | None = None
    timestamp: int | None = None

    def record(self) -> BookSnapshot:
        return BookSnapshot(
            raw_symbol=self.market,
            bids=levels(self.bids),
            asks=levels(self.asks),
            sequence=numbered(self.market, self.mdSeqNo, self.nonce),
            ts_event=self.timestamp,
        )


class Other(Struct):
    action: str = ""
    event: str = ""
    response: Raw = Raw()
    errorCode: int | None = None
    error: str = ""


Frame = TradeWire | BookWire | BestWire | DayWire | CandleWire | AnswerWire
READ = {kind.__struct_config__.tag for kind in (TradeWire, BookWire, BestWire, DayWire, CandleWire, AnswerWire)}
decode = either(Decoder(Frame).decode, Decoder(StandingBooks).decode)
decode_other = Decoder(Other).decode
decode_whole = Decoder(WholeBook).decode


def parser() -> Parse:
    """The reader of one connection's frames: the best prices are told side by side."""
    best: dict[str, BestWire] = {}

    def parse(frame: bytes) -> Iterable[Event]:
        if not frame.startswith(b'{"event":"'):
            other = decode_other(frame)
            if other.event not in READ:
                return parse_other(other)
        elif frame.startswith((b'{"event":"unsub', b'{"event":"auth')):
            return ()
        message = decode(frame)
        return read_best(best, message) if isinstance(message, BestWire) else tuple(message.events())

    return parse


def read_best(known: dict[str, BestWire], told: BestWire) -> Iterable[Event]:
    """Until both sides have been told, the other one is not known to be empty."""
    now = known.setdefault(told.market, BestWire(market=told.market))
    if told.bestBid is not None:
        now.bestBid, now.bestBidSize = told.bestBid, told.bestBidSize
    if told.bestAsk is not None:
        now.bestAsk, now.bestAskSize = told.bestAsk, told.bestAskSize
    if now.bestBid is None or now.bestAsk is None or (told.bestBid is None and told.bestAsk is None):
        return ()
    return (bbo(told.market, now.bestBid, now.bestBidSize, now.bestAsk, now.bestAskSize),)


def parse_other(other: Other) -> Iterable[Event]:
    if other.errorCode is not None:
        return refused(other) if other.action in {"subscribe", ""} else ()
    return (decode_whole(other.response).record(),) if other.action == "getBook" else ()


def refused(other: Other) -> Iterable[Event]:
    """One market that is not known refuses all of a request."""
    reason = f"{other.errorCode}: {other.error}"
    if other.errorCode in BUSY:
        return (Refused(reason, meaning="passing"),)
    name = named_in(other.error, NAME)
    if other.errorCode != NO_MARKET or name is None:
        return (Refused(reason),)
    return (Refused(reason, raw_symbol=name[1], meaning="final", whole=True),)


def topic(s: Subscription) -> tuple[str, str, str]:
    interval = WIRE_WEEK if s.interval == WEEK else s.interval
    return CHANNELS[s.channel], interval if s.channel == "candles" else "", s.raw_symbol


def asking(action: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        channels: list[Mapping[str, object]] = []
        for (word, interval), markets in symbols_by(lambda s: topic(s)[:2], wanted).items():
            channels.append({"name": word, "markets": markets} | ({"interval": [interval]} if interval else {}))
        yield encode({"action": action, "channels": channels})

    return ask


def ask_book(raw_symbol: str, id: int) -> bytes:
    return encode({"action": "getBook", "requestId": id, "market": raw_symbol, "depth": DEPTH})


def read_whole(_: str, body: bytes) -> BookSnapshot:
    return decode_whole(body).record()


class MarketWire(Struct):
    market: str
    base: str
    quote: str
    status: str = ""
    tickSize: Text = None
    quantityDecimals: Text = None
    minOrderInBaseAsset: Text = None
    maxOrderInBaseAsset: Text = None
    minOrderInQuoteAsset: Text = None


decode_rows = Decoder(list[Raw]).decode
decode_market = Decoder(MarketWire).decode


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    return Instrument(
        raw_symbol=m.market,
        base=m.base,
        quote=m.quote,
        tick_size=optional(m.tickSize),
        lot_size=step(m.quantityDecimals),
        min_size=optional(m.minOrderInBaseAsset),
        max_size=optional(m.maxOrderInBaseAsset),
        min_notional=optional(m.minOrderInQuoteAsset),
        state=STATES.get(m.status, "unknown"),
    )


EXCHANGE = Exchange(
    id="bitvavo",
    docs="https://docs.bitvavo.com/",
    trouble=coded("errorCode", "error", busy=("105", "112")),
    checked="2026-09, live probes by others",
    notes=(
        "Trades have ids without an order, so that missed ones cannot be asked for by number.",
        "Best prices are told side by side; they are put together, once both are known.",
        "A candle is told while it runs, and a minute without a trade has none.",
    ),
    limits=Limits(weights={API: ((1000, 60),)}),
    listing=Listing((Request(f"{API}/markets"),), decode_rows, read_market),
    feeds=(
        Stream(
            url="wss://ws.bitvavo.com/v2/",
            compression="offered",
            channels=CHANNELS,
            topic=topic,
            subscribe=asking("subscribe"),
            unsubscribe=asking("unsubscribe"),
            parser=parser,
            heartbeat=Heartbeat(every=30, frame=b'{"action":"getTime"}'),
            snapshot=Snapshot(
                request=lambda name: Request(f"{API}/{name}/book?depth={DEPTH}"), parse=read_whole, ask=ask_book
            ),
            sequence={"book": contiguous},
            per_connection=1000,
            batch=100,
            patience=75,
        ),
    ),
)
