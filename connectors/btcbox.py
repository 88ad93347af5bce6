"""BTCBOX, by polling: it has no stream.

https://blog.btcbox.jp/en/archives/8762
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Limits, Listing, Poll, Request, Trouble
from aggregator.records import DAY_S, BookSnapshot, Instrument, Level, Record, Ticker, Trade
from aggregator.wire import Text, encode, levels, nonzero, number, optional, seconds, text

API = "https://www.btcbox.co.jp/api/v1"


class TradeRow(Struct, gc=False):
    date: Text  # seconds
    price: Text
    amount: Text
    tid: int
    type: Literal[
        "buy", "sell"
    ]  # the exchange does not say whose side it is; where there is but one, it is the taker's


class Depth(Struct):
    asks: list[list[Text]]  # dearest first
    bids: list[list[Text]]


class Answer(Struct):
    """The answer that comes where something is wrong."""

    result: bool = True
    code: Text = ""


class TickerWire(Struct):
    """`buy` and `sell`, too, are quotations of some moment: they cross in the documentation's own example."""

    last: Text
    high: Text
    low: Text
    vol: Text


decode_answer = Decoder(Answer).decode
decode_trades = Decoder(list[TradeRow], strict=False, float_hook=number).decode
decode_depth = Decoder(Depth, float_hook=number).decode
decode_tickers = Decoder(dict[str, TickerWire], float_hook=number).decode
decode_pairs = Decoder(dict[str, Raw]).decode
decode_pair = Decoder(str).decode


def trouble(_: int, __: Mapping[str, str], body: bytes) -> Trouble | None:
    """An error comes with HTTP 200: `{"result":false,"code":"102"}` where there is no such coin."""
    if not body.startswith(b'{"result"'):
        return None
    said = decode_answer(body)
    return None if said.result else Trouble(f"code {said.code}")


def asking(path: str) -> Callable[[str], Request]:
    """A request about one pair, which is asked for by its base: `BTC_JPY` as `btc`."""
    return lambda raw_symbol: Request(f"{API}/{path}?coin={raw_symbol.partition('_')[0].lower()}")


def read_trades(raw_symbol: str, body: bytes) -> Iterable[Record]:
    return [
        Trade(
            raw_symbol=raw_symbol,
            id=str(t.tid),
            price=text(t.price),
            size=text(t.amount),
            side=t.type,
            ts_event=seconds(t.date),
        )
        for t in sorted(decode_trades(body), key=lambda t: t.tid)
    ]


def read_depth(raw_symbol: str, body: bytes) -> Iterable[Record]:
    d = decode_depth(body)
    bids, asks = sorted(levels(d.bids), key=price, reverse=True), sorted(levels(d.asks), key=price)
    return (BookSnapshot(raw_symbol=raw_symbol, bids=bids, asks=asks, reason="periodic"),)


def price(level: Level) -> Decimal:
    return Decimal(level[0])


def read_tickers(_: str, body: bytes) -> Iterable[Record]:
    return [
        Ticker(
            raw_symbol=pair,
            last=nonzero(t.last),
            high=nonzero(t.high),
            low=nonzero(t.low),
            base_volume=optional(t.vol),
            window_s=DAY_S,
        )
        for pair, t in decode_tickers(body).items()
    ]


def rows(body: bytes) -> Iterable[Raw]:
    return [Raw(encode(pair)) for pair in decode_pairs(body) if "_" in pair]


def read_pair(row: Raw) -> Instrument:
    pair = decode_pair(row)
    base, _, quote = pair.partition("_")
    return Instrument(raw_symbol=pair, base=base, quote=quote)


EXCHANGE = Exchange(
    id="btcbox",
    docs="https://blog.btcbox.jp/en/archives/8762",
    checked="2026-09, live probes by others",
    trouble=trouble,
    notes=(
        "An answer holds the last hundred trades.",
        "The pairs are those of its tickers.",
        "DOGE, DOT and TRX have no book, but a quote of its own desk: a bid and an ask of one price (September 2026).",
    ),
    limits=Limits(weights={API: ((1, 1),)}),
    listing=Listing((Request(f"{API}/tickers"),), rows, read_pair),
    feeds=(
        Poll(name="trades", channels=("trades",), every=15, request=asking("orders"), parse=read_trades),
        Poll(name="book", channels=("book",), every=10, request=asking("depth"), parse=read_depth),
        Poll(
            name="ticker",
            channels=("ticker",),
            every=30,
            request=lambda _: Request(f"{API}/tickers"),
            parse=read_tickers,
            many=True,
        ),
    ),
)
