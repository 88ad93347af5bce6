"""YoBit, by polling: it has no stream.

https://yobit.net/en/api
Version 3 of its API, which was BTC-e's. An answer names its pairs, and is made anew every two seconds.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Limits, Listing, Poll, Request, Trouble
from aggregator.records import DAY_S, BookSnapshot, Instrument, Record, Ticker, Trade
from aggregator.refusals import meaning_of
from aggregator.wire import Text, as_written, bbo, encode, levels, nonzero, optional, seconds, step, text

API = "https://yobit.net/api/3"
DEPTH = 150  # levels a side, and trades in an answer
BUSY = ("limit", "too many")


class TradeRow(Struct, gc=False):
    type: Literal["bid", "ask"]  # the taker bought, or sold
    price: Text
    amount: Text
    tid: int
    timestamp: int  # seconds


class Depth(Struct):
    """A side without orders is left out."""

    bids: list[list[Text]] = []
    asks: list[list[Text]] = []


class TickerWire(Struct):
    last: Text
    high: Text = None
    low: Text = None
    vol: Text = None  # in the quote asset
    vol_cur: Text = None  # in the base asset
    buy: Text = None  # the best bid
    sell: Text = None
    updated: int | None = None  # seconds


class Pair(Struct):
    decimal_places: int | None = None
    min_amount: Text = None
    min_total: Text = None
    hidden: int = 0


class Pairs(Struct):
    pairs: dict[str, Raw]


class Answer(Struct):
    """The answer that comes where something is wrong; `success` is a number, a word or a truth value."""

    error: str = ""


decode_trades = Decoder(dict[str, list[TradeRow]], float_hook=as_written).decode
decode_depth = Decoder(dict[str, Depth], float_hook=as_written).decode
decode_ticker = Decoder(dict[str, TickerWire], float_hook=as_written).decode
decode_pairs = Decoder(Pairs).decode
decode_pair = Decoder(tuple[str, Pair], float_hook=as_written).decode
decode_answer = Decoder(Answer).decode


def trouble(_: int, __: Mapping[str, str], body: bytes) -> Trouble | None:
    """An error comes with HTTP 200: `{"success":0,"error":"Invalid pair name: ltc_xyz"}`."""
    try:
        said = decode_answer(body)
    except DecodeError:
        return None
    return Trouble(said.error, is_busy=meaning_of(said.error, passing=BUSY) == "passing") if said.error else None


def asking(path: str, query: str = "") -> Callable[[str], Request]:
    return lambda raw_symbol: Request(f"{API}/{path}/{raw_symbol}{query}")


def read_trades(raw_symbol: str, body: bytes) -> Iterable[Record]:
    return [
        Trade(
            raw_symbol=raw_symbol,
            id=str(t.tid),
            price=text(t.price),
            size=text(t.amount),
            side="buy" if t.type == "bid" else "sell",
            ts_event=seconds(t.timestamp),
        )
        for t in sorted(decode_trades(body)[raw_symbol], key=lambda t: t.tid)
    ]


def read_depth(raw_symbol: str, body: bytes) -> Iterable[Record]:
    d = decode_depth(body)[raw_symbol]
    bids, asks = levels(d.bids), levels(d.asks)
    return (BookSnapshot(raw_symbol=raw_symbol, bids=bids, asks=asks, depth=DEPTH, reason="periodic"),)


def read_ticker(raw_symbol: str, body: bytes) -> Iterable[Record]:
    t = decode_ticker(body)[raw_symbol]
    made = None if t.updated is None else seconds(t.updated)
    statistics = Ticker(
        raw_symbol=raw_symbol,
        last=nonzero(t.last),
        high=nonzero(t.high),
        low=nonzero(t.low),
        base_volume=optional(t.vol_cur),
        quote_volume=optional(t.vol),
        window_s=DAY_S,
        ts_sent=made,
    )
    return statistics, bbo(raw_symbol, t.buy, None, t.sell, None, ts_sent=made)


def rows(body: bytes) -> Iterable[Raw]:
    return [Raw(encode(pair)) for pair in decode_pairs(body).pairs.items()]


def read_pair(row: Raw) -> Instrument:
    name, p = decode_pair(row)
    base, _, quote = name.upper().partition("_")
    return Instrument(
        raw_symbol=name,
        base=base,
        quote=quote,
        tick_size=step(p.decimal_places),
        min_size=optional(p.min_amount),
        min_notional=optional(p.min_total),
        state="halt" if p.hidden else "trading",
    )


EXCHANGE = Exchange(
    id="yobit",
    docs="https://yobit.net/en/api",
    checked="2026-11, its documentation and ccxt 4.4.40; nothing was seen live, by us or by others",
    trouble=trouble,
    notes=(
        "Its site showed trades in June 2026; no source tells that it answers since. A firewall may refuse programs.",
        "The side of a trade is the taker's as ccxt reads it.",
        f"A book has {DEPTH} levels a side, without a time or a number; an answer holds the last {DEPTH} trades.",
        "Pairs that nobody trades have tickers of years ago: `ts_sent` is the time at which one was made.",
        "Best prices come with the ticker, without sizes. It has no candles.",
        "A coin's unified name may be its own here, because many share a symbol with a coin that is better known.",
        "A hundred requests a minute are allowed, which is enough for eight pairs in all channels.",
    ),
    limits=Limits(weights={"https://yobit.net": ((100, 60),)}),
    listing=Listing((Request(f"{API}/info"),), rows, read_pair),
    feeds=(
        Poll(
            name="trades",
            channels=("trades",),
            every=15,
            request=asking("trades", f"?limit={DEPTH}"),
            parse=read_trades,
        ),
        Poll(name="book", channels=("book",), every=10, request=asking("depth", f"?limit={DEPTH}"), parse=read_depth),
        Poll(name="ticker", channels=("ticker", "bbo"), every=30, request=asking("ticker"), parse=read_ticker),
    ),
)
