"""Frames of BigONE's contracts, whose addresses name what is told: `depth@BTCUSDT`, `trades@BTCUSDT`, `instruments`.

https://open.big.one/docs/contract/pusher
Sides of a book are objects from price to size, in no order. The first frame is the whole book, begins nowhere (0) and
names no contract, as the address does; each later frame begins (`from`) where the one before ended (`to`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from urllib.parse import quote

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Event, Subscription
from aggregator.records import (
    DAY_S,
    BookDelta,
    BookSnapshot,
    Channel,
    Funding,
    IndexPrice,
    Levels,
    MarkPrice,
    OpenInterest,
    Record,
    Ticker,
)
from aggregator.wire import Text, ms, nonzero, number, oldest_first, optional, text
from connectors.bigone.contract_wires import PERIODS, BarWire, TradeWire

WS = "wss://api.big.one/ws/contract/v2"
API = "https://big.one/api/contract/v2"
PONG, HEAD = b'"pong"', 12  # the word of an answer to a ping, and how many bytes of a frame may begin with it
BOOK: dict[Channel, str] = {"book": "depth"}
TRADES: dict[Channel, str] = {"trades": "trades"}
CANDLES: dict[Channel, str] = {"candles": "candlesticks"}
FIGURES: dict[Channel, str] = dict.fromkeys(
    ("ticker", "mark_price", "index_price", "funding", "open_interest"), "instruments"
)


class BookWire(Struct, rename={"start": "from"}):  # `from` is a word of Python
    to: Text
    bids: Mapping[str, Text]
    asks: Mapping[str, Text]
    start: Text = "0"
    symbol: str | None = None


class FigureWire(Struct):
    symbol: str
    latestPrice: Text = None
    last24hMaxPrice: Text = None
    last24hMinPrice: Text = None
    volume24h: Text = None  # contracts
    indexPrice: Text = None
    markPrice: Text = None
    fundingRate: Text = None
    nextFundingRate: Text = None
    nextFundingTime: int | None = None  # milliseconds
    openInterest: Text = None  # contracts

    def records(self) -> Iterable[Record]:
        name = self.symbol
        yield Ticker(
            raw_symbol=name,
            last=nonzero(self.latestPrice),
            high=nonzero(self.last24hMaxPrice),
            low=nonzero(self.last24hMinPrice),
            contract_volume=optional(self.volume24h),
            window_s=DAY_S,
        )
        if price := nonzero(self.markPrice):
            yield MarkPrice(raw_symbol=name, price=price)
        if price := nonzero(self.indexPrice):
            yield IndexPrice(raw_symbol=name, price=price)
        if rate := optional(self.fundingRate):
            due = ms(self.nextFundingTime) if self.nextFundingTime else None
            yield Funding(raw_symbol=name, rate=rate, ts_next=due)
        if rate := optional(self.nextFundingRate):
            yield Funding(raw_symbol=name, rate=rate, kind="predicted")
        if size := optional(self.openInterest):
            yield OpenInterest(raw_symbol=name, size=size, size_unit="contract")


decode_book = Decoder(BookWire, float_hook=number).decode
decode_figures = Decoder(list[FigureWire], float_hook=number).decode
decode_trades = Decoder(list[TradeWire], float_hook=number).decode
decode_bars = Decoder(list[BarWire], float_hook=number).decode


def side(rows: Mapping[str, Text]) -> Levels:
    return [(text(price), text(size)) for price, size in rows.items()]


def parse_book(frame: bytes) -> Iterable[Event]:
    if PONG in frame[:HEAD]:
        return ()
    said = decode_book(frame)
    start = int(text(said.start))
    if start == 0:
        return (whole(said),)
    if said.symbol is None:
        raise BadFrame("changes of a book without a contract")
    return (
        BookDelta(
            raw_symbol=said.symbol,
            bids=side(said.bids),
            asks=side(said.asks),
            sequence=int(text(said.to)),
            sequence_prev=start,
        ),
    )


def parse_figures(frame: bytes) -> Iterable[Event]:
    if PONG in frame[:HEAD]:
        return ()
    return [record for row in decode_figures(frame) for record in row.records()]


def parse_trades(frame: bytes) -> Iterable[Event]:
    return () if PONG in frame[:HEAD] else oldest_first(row.record() for row in decode_trades(frame))


def parse_bars(frame: bytes) -> Iterable[Event]:
    return () if PONG in frame[:HEAD] else [row.record() for row in decode_bars(frame)]


def whole(said: BookWire) -> BookSnapshot:
    return BookSnapshot(
        raw_symbol=said.symbol,
        bids=sorted(side(said.bids), key=price, reverse=True),
        asks=sorted(side(said.asks), key=price),
        sequence=int(text(said.to)),
    )


def price(level: tuple[str, str]) -> Decimal:
    return Decimal(level[0])


def address(channels: Mapping[Channel, str]) -> Callable[[Sequence[Subscription]], str]:
    """The address of a connection, which has one topic."""

    def url(wanted: Sequence[Subscription]) -> str:
        (word,) = channels.values()
        topic = "".join(f"{period(s)}@{quote(s.raw_symbol, safe='')}" for s in wanted)
        return f"{WS}/{word}{topic}"

    return url


def period(s: Subscription) -> str:
    return f"/{PERIODS.get(s.interval, s.interval)}" if s.channel == "candles" else ""


def ask(_: Sequence[Subscription], __: int) -> Iterable[bytes]:
    """Nothing: the address says what is told."""
    return ()
