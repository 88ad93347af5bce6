"""BIT.TEAM, by polling: it documents no stream.

https://bit.team/trade/api/documentation
The page was not to be had in November 2026: the forms are those of its answers of 2023 that ccxt 4.5.90 quotes.
"""

from collections.abc import Callable, Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Limits, Listing, Poll, Request
from aggregator.records import DAY_S, BookSnapshot, Instrument, Record, Side, Ticker, Trade
from aggregator.refusals import coded
from aggregator.wire import Text, as_written, at, bbo, levels, ms, nonzero, optional, step, text

API = "https://bit.team/trade/api"


class TradeRow(Struct, gc=False):
    trade_id: int
    price: Text
    base_volume: Text
    timestamp: int  # ms
    type: Side  # the taker's: this is CoinMarketCap's form of trades, which says so
    quote_volume: Text = None


class Depth(Struct):
    bids: list[list[Text]]
    asks: list[list[Text]]
    timestamp: int | None = None  # ms


class Summary(Struct):
    trading_pairs: str  # in capitals, which the listing has not
    last_price: Text
    highest_price_24h: Text = None
    lowest_price_24h: Text = None
    base_volume: Text = None
    quote_volume: Text = None
    highest_bid: Text = None
    lowest_ask: Text = None


class Pair(Struct):
    name: str  # `eth_usdt`
    active: bool
    baseStep: int | None = None  # decimals
    quoteStep: int | None = None


decode_trades = Decoder(list[TradeRow], float_hook=as_written).decode
decode_depth = Decoder(Depth, float_hook=as_written).decode
decode_summaries = Decoder(list[Summary], float_hook=as_written).decode
decode_pair = Decoder(Pair).decode


def asking(path: str) -> Callable[[str], Request]:
    return lambda raw_symbol: Request(f"{API}/cmc/{path}/{raw_symbol.upper()}")


def read_trades(raw_symbol: str, body: bytes) -> Iterable[Record]:
    return [
        Trade(
            raw_symbol=raw_symbol,
            id=str(t.trade_id),
            price=text(t.price),
            size=text(t.base_volume),
            quote_size=optional(t.quote_volume),
            side=t.type,
            ts_event=ms(t.timestamp),
        )
        for t in sorted(decode_trades(body), key=lambda t: t.trade_id)
    ]


def read_depth(raw_symbol: str, body: bytes) -> Iterable[Record]:
    d = decode_depth(body)
    bids, asks = levels(d.bids), levels(d.asks)
    sent = None if d.timestamp is None else ms(d.timestamp)
    return (BookSnapshot(raw_symbol=raw_symbol, bids=bids, asks=asks, ts_sent=sent, reason="periodic"),)


def read_summaries(_: str, body: bytes) -> Iterable[Record]:
    for s in decode_summaries(body):
        name = s.trading_pairs.lower()
        yield Ticker(
            raw_symbol=name,
            last=nonzero(s.last_price),
            high=nonzero(s.highest_price_24h),
            low=nonzero(s.lowest_price_24h),
            base_volume=optional(s.base_volume),
            quote_volume=optional(s.quote_volume),
            window_s=DAY_S,
        )
        yield bbo(name, s.highest_bid, None, s.lowest_ask, None)


def read_pair(row: Raw) -> Instrument:
    p = decode_pair(row)
    base, _, quote = p.name.upper().partition("_")
    return Instrument(
        raw_symbol=p.name,
        base=base,
        quote=quote,
        tick_size=step(p.quoteStep),
        lot_size=step(p.baseStep),
        state="trading" if p.active else "halt",
    )


EXCHANGE = Exchange(
    id="bitteam",
    docs="https://bit.team/trade/api/documentation",
    trouble=coded("ok", "message", fine=("true",)),
    checked="ccxt 4.5.90, which quotes its answers of 2023; nothing was seen live, by us or by others",
    notes=(
        "No source tells whether it still answers in 2026.",
        "The side of a trade is the taker's by CoinMarketCap's form, in which it answers.",
        "The time of a book is that of the answer; best prices come with the ticker, without sizes.",
        "Its candles are had from another host by resolution, and are left out.",
    ),
    limits=Limits(weights={"https://bit.team": ((1, 1),)}),
    listing=Listing((Request(f"{API}/ccxt/pairs"),), at("result", "pairs"), read_pair, state=("active",)),
    feeds=(
        Poll(name="trades", channels=("trades",), every=15, request=asking("trades"), parse=read_trades),
        Poll(name="book", channels=("book",), every=10, request=asking("orderbook"), parse=read_depth),
        Poll(
            name="ticker",
            channels=("ticker", "bbo"),
            every=10,
            request=lambda _: Request(f"{API}/cmc/summary"),
            parse=read_summaries,
            many=True,
        ),
    ),
)
