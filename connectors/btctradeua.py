"""BTC Trade UA, spot, by polling: its socket tells the time of the page and nothing of markets.

https://btc-trade.com.ua/page/api_documentation
A book comes in two answers, one for each side, of different moments. Candles begin at odd minutes, by the clock of
Kyiv. Neither is followed.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Limits, Listing, Poll, Request
from aggregator.records import Instrument, Record, Ticker, Trade
from aggregator.wire import Text, as_written, bbo, encode, nonzero, optional, seconds, text

API = "https://btc-trade.com.ua/api"


class Deal(Struct, gc=False):
    """One side of a trade; its row names the user, too, whom nothing here reads."""

    id: int
    type: Literal["buy", "sell"]  # the side that the row is of
    price: Text
    amnt_trade: Text  # in the base
    amnt_base: Text  # in the quote
    unixtime: Text  # seconds


class Figures(Struct):
    """Text, `0` where nothing was traded; `avg` is in US dollars."""

    buy: Text
    sell: Text
    last: Text
    high: Text
    low: Text
    vol: Text  # in the base
    vol_cur: Text  # in the quote
    updated: int | None = None  # when the answer was made, in seconds


decode_deals = Decoder(list[Deal], float_hook=as_written).decode
decode_pairs = Decoder(dict[str, Raw]).decode
decode_figures = Decoder(Figures, float_hook=as_written).decode
decode_name = Decoder(str).decode


def read_deals(raw_symbol: str, body: bytes) -> Iterable[Record]:
    """Give each trade once: it has a row of the buyer's and one of the seller's, and the buyer's is taken."""
    rows = sorted(decode_deals(body), key=lambda row: row.id)
    return [
        Trade(
            raw_symbol=raw_symbol,
            id=str(row.id),
            price=text(row.price),
            size=text(row.amnt_trade),
            quote_size=text(row.amnt_base),
            ts_event=seconds(row.unixtime),
        )
        for row in rows
        if row.type == "buy"
    ]


def pairs(body: bytes) -> dict[str, Raw]:
    """The answer's pairs; a field of another name stood beside them at times."""
    return {name: row for name, row in decode_pairs(body).items() if "_" in name}


def read_figures(_: str, body: bytes) -> Iterable[Record]:
    for name, row in pairs(body).items():
        t = decode_figures(row)
        sent = None if t.updated is None else seconds(t.updated)
        yield Ticker(
            raw_symbol=name,
            last=nonzero(t.last),
            high=nonzero(t.high),
            low=nonzero(t.low),
            base_volume=optional(t.vol),
            quote_volume=optional(t.vol_cur),
            ts_sent=sent,
        )
        yield bbo(name, t.buy, None, t.sell, None, ts_sent=sent)


def rows(body: bytes) -> Iterable[Raw]:
    return [Raw(encode(name)) for name in pairs(body)]


def read_name(row: Raw) -> Instrument:
    name = decode_name(row)
    base, _, quote = name.upper().partition("_")
    return Instrument(raw_symbol=name, base=base, quote=quote)


EXCHANGE = Exchange(
    id="btctradeua",
    docs="https://btc-trade.com.ua/page/api_documentation",
    checked="2026-09, live probes by others",
    notes=(
        "It has hardly any trades: 11 of its 36 pairs had one in a day (September 2026).",
        "A trade is listed twice, once a side: the buyer's row gives it its id, and who was the taker is not said.",
        "The names of users that stand in its answers are not read. Captures and dead letters have them.",
        "The book is not followed: its two sides come in two answers, of different moments.",
        "The pairs are those of its tickers, which have neither steps nor states. They are made anew each half minute.",
        "Best prices come with the ticker, without sizes.",
        "Candles are not followed: they begin at odd minutes, by the clock of Kyiv.",
    ),
    limits=Limits(weights={API: ((1, 1),)}),
    listing=Listing((Request(f"{API}/ticker"),), rows, read_name),
    feeds=(
        Poll(
            name="trades",
            channels=("trades",),
            every=60,
            request=lambda raw_symbol: Request(f"{API}/deals/{raw_symbol}"),
            parse=read_deals,
        ),
        Poll(
            name="ticker",
            channels=("ticker", "bbo"),
            every=30,
            request=lambda _: Request(f"{API}/ticker"),
            parse=read_figures,
            many=True,
        ),
    ),
)
