"""Reading Hibachi's frames: a topic, a symbol and data.

https://hibachi-docs.redocly.app/wsapi/market
Books have no numbers. A trade has no id, and the second in which it was.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Event, Parse, Refused
from aggregator.records import (
    HOUR_S,
    BookDelta,
    BookSnapshot,
    Channel,
    Funding,
    IndexPrice,
    MarkPrice,
    Trade,
)
from aggregator.refusals import meaning_of
from aggregator.wire import Text, bbo, by_word, nonzero, number, optional, seconds, text
from connectors.hibachi.wires import (
    BestData,
    BookFrame,
    Held,
    MarkData,
    RateData,
    Said,
    SpotData,
    TradeData,
    changed,
)

CHANNELS: dict[Channel, str] = {
    "trades": "trades",
    "book": "orderbook",
    "bbo": "ask_bid_price",
    "funding": "funding_rate_estimation",
    "mark_price": "mark_price",
    "index_price": "spot_price",
}


class Other(Struct):
    topic: str = ""
    error: Text = None
    message: str = ""


decode_trade = Decoder(Said[TradeData], float_hook=number).decode
decode_book = Decoder(BookFrame, strict=False, float_hook=number).decode
decode_best = Decoder(Said[BestData], float_hook=number).decode
decode_rate = Decoder(Said[RateData], float_hook=number).decode
decode_mark = Decoder(Said[MarkData], float_hook=number).decode
decode_spot = Decoder(Said[SpotData], float_hook=number).decode
decode_other = Decoder(Other, float_hook=number).decode


def read_trade(frame: bytes) -> Iterable[Event]:
    said = decode_trade(frame)
    trade = said.data.trade
    return (
        Trade(
            raw_symbol=said.symbol,
            price=text(trade.price),
            size=text(trade.quantity),
            side="buy" if trade.takerSide == "Buy" else "sell",
            ts_event=seconds(trade.timestamp),
        ),
    )


def parser() -> Parse:
    """A parser that knows which prices stand in a book, to tell which have left its window."""
    books: dict[str, tuple[Held, Held]] = {}

    def read_book(frame: bytes) -> Iterable[Event]:
        said = decode_book(frame)
        name, is_whole = said.symbol, said.messageType == "Snapshot"
        if is_whole:
            books[name] = {}, {}
        sides = books.setdefault(name, ({}, {}))
        bids, asks = (changed(held, side) for held, side in zip(sides, (said.data.bid, said.data.ask), strict=True))
        if is_whole:
            return (BookSnapshot(raw_symbol=name, bids=bids, asks=asks, depth=said.depth, ts_sent=said.sent),)
        return (BookDelta(raw_symbol=name, bids=bids, asks=asks, ts_sent=said.sent),)

    return by_word(b'"topic":"', {**READERS, "orderbook": read_book}, lambda frame: read_other(frame, read_book))


def read_best(frame: bytes) -> Iterable[Event]:
    said = decode_best(frame)
    best = said.data
    return (bbo(said.symbol, best.bidPrice, best.bidSize, best.askPrice, best.askSize),)


def read_rate(frame: bytes) -> Iterable[Event]:
    """An estimate of the rate of the running hour."""
    said = decode_rate(frame)
    told = said.data.fundingRateEstimation
    rate, due = optional(told.estimatedFundingRate), optional(told.nextFundingTimestamp)
    if rate is not None:
        ts_next = None if due is None else seconds(due)
        yield Funding(raw_symbol=said.symbol, rate=rate, kind="predicted", interval_s=HOUR_S, ts_next=ts_next)


def read_mark(frame: bytes) -> Iterable[Event]:
    said = decode_mark(frame)
    price = nonzero(said.data.markPrice)
    return () if price is None else (MarkPrice(raw_symbol=said.symbol, price=price),)


def read_spot(frame: bytes) -> Iterable[Event]:
    said = decode_spot(frame)
    price = nonzero(said.data.spotPrice)
    return () if price is None else (IndexPrice(raw_symbol=said.symbol, price=price),)


READERS: dict[str, Parse] = {
    "trades": read_trade,
    "ask_bid_price": read_best,
    "funding_rate_estimation": lambda frame: [*read_rate(frame)],
    "mark_price": read_mark,
    "spot_price": read_spot,
}


def read_other(frame: bytes, read_book: Parse) -> Iterable[Event]:
    """Anything else: data that is spaced in another way, or an error, whose form is not documented."""
    said = decode_other(frame)
    if said.topic:
        read = read_book if said.topic == "orderbook" else READERS.get(said.topic)
        return () if read is None else read(frame)
    if said.error is None:
        raise BadFrame("neither data of a topic nor an error")
    reason = f"{said.error}: {said.message}".removesuffix(": ")
    return (Refused(reason, meaning=meaning_of(reason, passing=("rate limit", "too many"))),)
