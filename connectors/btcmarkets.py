"""BTC Markets, spot.

https://docs.btcmarkets.net/v3/, which is closed to most readers; https://github.com/BTCMarkets/API/wiki/websocket-v2 is
older, and https://github.com/ngin-io/btcm-client-checksum tells of the checksum. What they leave open live probes of
September 2026 have shown: nothing acknowledges a subscription, and one unknown market refuses all of a request.
"""

from collections.abc import Iterable, Sequence
from zlib import crc32

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.book import OrderBook
from aggregator.exchange import (
    Backfill,
    Event,
    Exchange,
    Limits,
    Listing,
    Poll,
    Refused,
    Request,
    Since,
    Snapshot,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import (
    DAY_S,
    BookDelta,
    BookSnapshot,
    Channel,
    Instrument,
    MarketState,
    Record,
    Side,
    Ticker,
    Trade,
)
from aggregator.refusals import coded
from aggregator.sequence import NEXT, STALE, Rule, Verdict, ordered
from aggregator.wire import Text, bbo, candle, encode, from_iso, nonzero, optional, step, summed, symbols_by, text

API = "https://api.btcmarkets.net/v3/markets"
CHANNELS: dict[Channel, str] = {"trades": "trade", "book": "orderbookUpdate", "bbo": "tick", "ticker": "tick"}
SIDES: dict[str, Side] = {"Bid": "buy", "Ask": "sell"}
CHECKED = 10  # levels a side
ORDERS = 50  # the best of a side, in the channel that others ask for
STATES: dict[str, MarketState] = {
    "Online": "trading",
    "Offline": "halt",
    "Post Only": "post_only",
    "Limit Only": "trading",
    "Cancel Only": "cancel_only",
}
INTERVAL = "1m"


class TradeWire(Struct, tag_field="messageType", tag="trade", gc=False):
    marketId: str
    timestamp: str
    tradeId: int | str  # a number as the documentation has it, text as the exchange's own client says
    price: str
    volume: str
    side: str  # the taker's

    def event(self) -> Event:
        return Trade(
            raw_symbol=self.marketId,
            id=str(self.tradeId),
            sequence=int(self.tradeId),
            price=text(self.price),
            size=text(self.volume),
            side=SIDES.get(self.side),
            ts_event=from_iso(self.timestamp),
        )


class BookWire(Struct, tag_field="messageType", tag="orderbookUpdate", gc=False):
    marketId: str
    timestamp: str
    snapshotId: int  # a time, in microseconds
    bids: list[tuple[str, str, int]]  # with how many orders there are
    asks: list[tuple[str, str, int]]
    snapshot: bool = False
    checksum: str | None = None

    def event(self) -> Event:
        kind = BookSnapshot if self.snapshot else BookDelta
        return kind(
            raw_symbol=self.marketId,
            bids=[(price, size) for price, size, _ in self.bids],
            asks=[(price, size) for price, size, _ in self.asks],
            sequence=self.snapshotId,
            checksum=None if self.checksum is None else int(self.checksum),
            ts_event=from_iso(self.timestamp),
        )


class TickWire(Struct, tag_field="messageType", tag="tick", gc=False):
    marketId: str
    timestamp: str
    bestBid: Text = None
    bestAsk: Text = None
    lastPrice: Text = None
    volume24h: Text = None
    price24h: Text = None  # the change
    low24h: Text = None
    high24h: Text = None

    def events(self) -> Iterable[Event]:
        when = from_iso(self.timestamp)
        yield bbo(self.marketId, self.bestBid, None, self.bestAsk, None, ts_event=when)
        yield Ticker(
            raw_symbol=self.marketId,
            last=nonzero(self.lastPrice),
            high=nonzero(self.high24h),
            low=nonzero(self.low24h),
            change=optional(self.price24h),
            base_volume=optional(self.volume24h),
            window_s=DAY_S,
            ts_event=when,
        )


class ErrorWire(Struct, tag_field="messageType", tag="error"):
    message: str = ""
    code: int | None = None

    def event(self) -> Event:
        """Read a refusal, which may be of any frame of a request: what it seems to mean is asked for again."""
        return Refused(f"{self.code}: {self.message}")


class WholeOrdersWire(Struct, tag_field="messageType", tag="orderbook"):
    """The best fifty orders of a side each time, a channel that others ask for: ours has all, and what changes."""

    marketId: str
    timestamp: str
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    snapshotId: int | None = None

    def event(self) -> Event:
        return BookSnapshot(
            raw_symbol=self.marketId,
            bids=summed(self.bids),
            asks=summed(self.asks),
            depth=ORDERS,
            reason="periodic",
            sequence=self.snapshotId,
            ts_event=from_iso(self.timestamp),
        )


class HeartbeatWire(Struct, tag_field="messageType", tag="heartbeat"):
    """Each five seconds, with everything that is subscribed to."""


decode = Decoder(TradeWire | BookWire | TickWire | ErrorWire | WholeOrdersWire | HeartbeatWire).decode


def parse(frame: bytes) -> Iterable[Event]:
    message = decode(frame)
    if isinstance(message, HeartbeatWire):
        return ()
    return message.events() if isinstance(message, TickWire) else (message.event(),)


def asking(operation: str, *more: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for word, markets in symbols_by(lambda s: CHANNELS[s.channel], wanted).items():
            yield encode({"messageType": operation, "channels": [word, *more], "marketIds": markets})

    return ask


def ask_book(raw_symbol: str, _: int) -> bytes:
    """Subscribing again brings a whole book anew, and no change twice."""
    return encode({"messageType": "addSubscription", "channels": ["orderbookUpdate"], "marketIds": [raw_symbol]})


def since(last: int, _first: int, final: int, _prev: int | None) -> Verdict:
    """Tell changes of before the whole book, which may come behind it; those of the same moment are of after it."""
    return NEXT if final >= last else STALE


STAMPED = Rule("stamped", since, since, sure=False)


def checksum(book: OrderBook, _: Instrument | None) -> int:
    """CRC32 of the ten best bids, then asks, as they were sent; it fitted 61,000 changes (2026-09, by others)."""
    bids, asks = book.spelled(CHECKED, level, level)
    return crc32("".join(bids + asks).encode())


def level(price: str, size: str) -> str:
    return price.replace(".", "").lstrip("0") + size.replace(".", "").lstrip("0")


class PastRow(Struct):
    id: str
    price: str
    amount: str
    timestamp: str
    side: str


class MarketWire(Struct):
    marketId: str
    baseAssetName: str
    quoteAssetName: str
    status: str = ""
    minOrderAmount: Text = None
    maxOrderAmount: Text = None
    amountDecimals: Text = None
    priceDecimals: Text = None


decode_past = Decoder(list[PastRow]).decode
decode_candles = Decoder(list[tuple[str, str, str, str, str, str]]).decode
decode_rows = Decoder(list[Raw]).decode
decode_market = Decoder(MarketWire).decode


def past_request(raw_symbol: str, _: Since) -> Request:
    return Request(f"{API}/{raw_symbol}/trades?limit=200")


def read_past(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    """The newest trades, newest first: no number can be asked for."""
    return [
        Trade(
            raw_symbol=raw_symbol,
            id=row.id,
            sequence=int(row.id),
            price=text(row.price),
            size=text(row.amount),
            side=SIDES.get(row.side),
            ts_event=from_iso(row.timestamp),
        )
        for row in reversed(decode_past(body))
    ]


def read_candles(raw_symbol: str, body: bytes) -> Iterable[Record]:
    for start, first, high, low, last, volume in sorted(decode_candles(body)):
        yield candle(raw_symbol, INTERVAL, from_iso(start), (first, high, low, last), base=volume)


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    return Instrument(
        raw_symbol=m.marketId,
        base=m.baseAssetName,
        quote=m.quoteAssetName,
        tick_size=step(m.priceDecimals),
        lot_size=step(m.amountDecimals),
        min_size=optional(m.minOrderAmount),
        max_size=optional(m.maxOrderAmount),
        state=STATES.get(m.status, "unknown"),
    )


EXCHANGE = Exchange(
    id="btcmarkets",
    docs="https://docs.btcmarkets.net/v3/",
    trouble=coded("code", "message"),
    checked="2026-09, live probes by others; of trades ccxt 4.5.90 and other readers alone",
    notes=(
        "The side of a trade is read as the taker's, as ccxt and others do; its documentation could not be read.",
        "Best bids and offers come without sizes.",
        "Candles are of one minute alone, and are asked for; a minute without a trade has none.",
        "A change of a book has no number: its checksum alone shows that one before it is missing.",
        "Missed trades are looked for among the newest 200.",
    ),
    limits=Limits(weights={API: ((150, 10),)}, connects=(3, 10)),
    listing=Listing((Request(API),), decode_rows, read_market),
    feeds=(
        Stream(
            url="wss://socket.btcmarkets.net/v2",
            channels=CHANNELS,
            topic=lambda s: (CHANNELS[s.channel], s.raw_symbol),
            subscribe=asking("addSubscription", "heartbeat"),
            unsubscribe=asking("removeSubscription"),
            parse=parse,
            snapshot=Snapshot(ask=ask_book, in_band=True),
            sequence={"book": STAMPED, "trades": ordered},
            checksum=checksum,
            backfill=Backfill(past_request, read_past),
            patience=30,
            acknowledges=False,
        ),
        Poll(
            name="candles",
            channels=("candles",),
            every=60,
            request=lambda name: Request(f"{API}/{name}/candles?timeWindow={INTERVAL}&limit=5"),
            parse=read_candles,
        ),
    ),
)
