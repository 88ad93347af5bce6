"""Requests and answers by REST: all orders, past trades, tickers, the listing."""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Request, Since
from aggregator.records import DAY_S, Instrument, OrdersSnapshot, Record, Side, Ticker, Trade
from aggregator.wire import Text, bbo, from_iso, nonzero, optional, text

API = "https://api.bitso.com/v3"
TAKER: dict[str, Side] = {"buy": "sell", "sell": "buy"}  # by REST the wire gives the maker's side


class WholeRow(Struct, gc=False):
    oid: str
    price: Text
    amount: Text


class Whole(Struct):
    bids: list[WholeRow]
    asks: list[WholeRow]
    sequence: Text
    updated_at: str | None = None  # when the answer was made


class WholeAnswer(Struct):
    payload: Whole


class PastRow(Struct):
    created_at: str
    amount: Text
    maker_side: Side
    price: Text
    tid: Text

    def record(self, raw_symbol: str) -> Trade:
        id = text(self.tid)
        return Trade(
            raw_symbol=raw_symbol,
            id=id,
            sequence=int(id),
            price=text(self.price),
            size=text(self.amount),
            side=TAKER[self.maker_side],
            ts_event=from_iso(self.created_at),
        )


class PastAnswer(Struct):
    payload: list[PastRow]


class TickerRow(Struct):
    book: str
    created_at: str | None = None  # when the answer was made
    last: Text = None
    high: Text = None
    low: Text = None
    volume: Text = None
    vwap: Text = None
    change_24: Text = None  # a difference of prices
    bid: Text = None
    ask: Text = None

    def records(self) -> Iterable[Record]:
        sent = from_iso(self.created_at) if self.created_at else None
        yield Ticker(
            raw_symbol=self.book,
            last=nonzero(self.last),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.volume),
            vwap=nonzero(self.vwap),
            change=optional(self.change_24),
            window_s=DAY_S,
            ts_sent=sent,
        )
        yield bbo(self.book, self.bid, None, self.ask, None, ts_sent=sent)


class TickerAnswer(Struct):
    payload: list[TickerRow]


class BookRow(Struct):
    book: str
    tick_size: Text = None
    minimum_amount: Text = None
    maximum_amount: Text = None
    minimum_value: Text = None


decode_whole = Decoder(WholeAnswer).decode
decode_past = Decoder(PastAnswer).decode
decode_tickers = Decoder(TickerAnswer).decode
decode_book = Decoder(BookRow).decode


def read_whole(raw_symbol: str, body: bytes) -> OrdersSnapshot:
    whole = decode_whole(body).payload
    bids, asks = ([(row.oid, text(row.price), text(row.amount)) for row in side] for side in (whole.bids, whole.asks))
    return OrdersSnapshot(
        raw_symbol=raw_symbol,
        bids=bids,
        asks=asks,
        sequence=int(text(whole.sequence)),
        ts_sent=from_iso(whole.updated_at) if whole.updated_at else None,
    )


def missed(raw_symbol: str, since: Since) -> Request:
    after = "" if since.sequence is None else f"&marker={since.sequence}&sort=asc"
    return Request(f"{API}/trades/?book={raw_symbol}&limit=100{after}")


def read_missed(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    return sorted((row.record(raw_symbol) for row in decode_past(body).payload), key=lambda trade: trade.sequence or 0)


def read_tickers(_: str, body: bytes) -> Iterable[Record]:
    return [record for row in decode_tickers(body).payload for record in row.records()]


def read_market(row: Raw) -> Instrument:
    m = decode_book(row)
    base, _, quote = m.book.upper().partition("_")
    return Instrument(
        raw_symbol=m.book,
        base=base,
        quote=quote,
        tick_size=optional(m.tick_size),
        min_size=optional(m.minimum_amount),
        max_size=optional(m.maximum_amount),
        min_notional=optional(m.minimum_value),
    )
