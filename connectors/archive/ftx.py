"""FTX, and FTX US, until they were shut on 12 November 2022: spot, perpetual contracts and dated futures.

https://github.com/ftexchange/ftx, and the exchange's own documentation, `docs.ftx.com`, which is gone.
A size is of the base asset in all markets. `BTC-0924` does not say of which year it is: only an answer of
`/api/futures` lists dated futures, one of `/api/markets` the others. The moves (`BTC-MOVE-0722`) and bets (`TRUMP2024`)
are of no kind that records know: what happened in them is told by its raw symbol.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.book import OrderBook
from aggregator.exchange import Archive, Event, Exchange, Listing, Stream
from aggregator.records import Bbo, BookDelta, BookSnapshot, Instrument, Ticker, Trade
from aggregator.wire import Text, as_written, at, best, crc_in_turns, from_iso, levels, number, seconds, text

CHECKED = 100  # levels a side


class TradeRow(Struct, gc=False):
    id: int | None  # null in the first months
    price: Text
    size: Text
    side: Literal["buy", "sell"]  # the taker's
    time: str
    liquidation: bool = False  # an order of the liquidation engine took part: on which side is not said


class BookRow(Struct, gc=False):
    time: Text  # seconds
    checksum: int
    bids: list[list[Text]]
    asks: list[list[Text]]


class TickerRow(Struct, gc=False):
    bid: Text
    ask: Text
    bidSize: Text
    askSize: Text
    last: Text
    time: Text  # seconds


class Frame(Struct, gc=False):
    type: str
    channel: str = ""
    market: str = ""
    data: Raw = Raw(b"null")

    def events(self) -> Iterable[Event]:
        if self.type not in {"partial", "update"}:
            return ()
        match self.channel:
            case "trades":
                return [self.trade(row) for row in decode_trades(self.data)]
            case "orderbook":
                return (self.book(decode_book(self.data)),)
            case "ticker":
                return self.ticker(decode_ticker(self.data))
        return ()

    def trade(self, row: TradeRow) -> Trade:
        return Trade(
            raw_symbol=self.market,
            id=None if row.id is None else str(row.id),
            price=text(row.price),
            size=text(row.size),
            side=row.side,
            kind="liquidation" if row.liquidation else "trade",
            ts_event=from_iso(row.time),
        )

    def book(self, row: BookRow) -> BookSnapshot | BookDelta:
        kind = BookSnapshot if self.type == "partial" else BookDelta
        return kind(
            raw_symbol=self.market,
            bids=levels(row.bids),
            asks=levels(row.asks),
            checksum=row.checksum,
            ts_event=seconds(row.time),
        )

    def ticker(self, row: TickerRow) -> Iterable[Event]:
        bid, ask, time = best(row.bid, row.bidSize), best(row.ask, row.askSize), seconds(row.time)
        yield Bbo(
            raw_symbol=self.market, bid_price=bid[0], bid_size=bid[1], ask_price=ask[0], ask_size=ask[1], ts_event=time
        )
        if row.last is not None:
            yield Ticker(raw_symbol=self.market, last=text(row.last), ts_event=time)


decode = Decoder(Frame).decode
decode_trades = Decoder(list[TradeRow], float_hook=as_written).decode
decode_book = Decoder(BookRow, float_hook=as_written).decode
decode_ticker = Decoder(TickerRow, float_hook=as_written).decode


def parse(frame: bytes) -> Iterable[Event]:
    return decode(frame).events()


def checksum(book: OrderBook, _: object) -> int:
    """Levels in turn, each number as Python writes a float: `0.00005` is `5e-05`. The exchange's sum has no sign."""
    bids, asks = book.spelled(CHECKED, floats, floats)
    return crc_in_turns(bids, asks) % 2**32


def floats(price: str, size: str) -> str:
    return f"{float(price)}:{float(size)}"


class Market(Struct):
    name: str
    type: str
    priceIncrement: Text
    sizeIncrement: Text
    enabled: bool = True
    postOnly: bool = False
    baseCurrency: str | None = None
    quoteCurrency: str | None = None
    underlying: str | None = None
    expiry: str | None = None

    def instrument(self) -> Instrument | None:
        is_future = self.type != "spot"
        is_perpetual = is_future and self.name.endswith("-PERP")
        if is_future and not is_perpetual and (self.type != "future" or self.expiry is None):
            return None
        return Instrument(
            raw_symbol=self.name,
            kind="perpetual" if is_perpetual else "future" if is_future else "spot",
            base=self.underlying if is_future else self.baseCurrency,
            quote="USD" if is_future else self.quoteCurrency,
            settle="USD" if is_future else None,
            linear=True if is_future else None,
            contract_size="1" if is_future else None,
            tick_size=text(self.priceIncrement),
            lot_size=text(self.sizeIncrement),
            expiry=None if self.expiry is None else from_iso(self.expiry),
            state="halt" if not self.enabled else "post_only" if self.postOnly else "trading",
        )


decode_market = Decoder(Market, float_hook=number).decode


def read(row: Raw) -> Instrument | None:
    return decode_market(row).instrument()


EXCHANGE = Exchange(
    id="ftx",
    docs="https://github.com/ftexchange/ftx",
    checked="2026-11, a recording of July 2021 by others",
    archives=(
        Archive(
            until="2022-11-12",
            listing=Listing(rows=at("result"), read=read),
            streams=(
                Stream(
                    channels={"trades": "trades", "book": "orderbook", "bbo": "ticker", "ticker": "ticker"},
                    parse=parse,
                    depth=CHECKED,
                    checksum=checksum,
                ),
            ),
        ),
    ),
)
