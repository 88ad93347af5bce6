"""Bit2C, by polling: the hub behind its web site (SignalR, `tradeHub`) is undocumented.

https://bit2c.co.il/home/api
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Limits, Listing, Poll, Request
from aggregator.records import DAY_S, BookSnapshot, Instrument, Record, Ticker, Trade
from aggregator.refusals import coded
from aggregator.wire import Text, levels, nonzero, number, optional, seconds, text

API = "https://bit2c.co.il/Exchanges"
BASES = {"BtcNis": "BTC", "EthNis": "ETH", "LtcNis": "LTC", "UsdcNis": "USDC"}  # no listing is published


class TradeRow(Struct, gc=False):
    tid: int
    date: int  # seconds
    price: Text
    amount: Text
    isBid: bool  # the taker bought


class Depth(Struct):
    bids: list[list[Text]]
    asks: list[list[Text]]


class TickerWire(Struct):
    ll: Text  # last price
    a: Text  # volume over 24 hours


decode_trades = Decoder(list[TradeRow], float_hook=number).decode
decode_depth = Decoder(Depth, float_hook=number).decode
decode_ticker = Decoder(TickerWire, float_hook=number).decode


def read_trades(raw_symbol: str, body: bytes) -> Iterable[Record]:
    return [
        Trade(
            raw_symbol=raw_symbol,
            id=str(t.tid),
            price=text(t.price),
            size=text(t.amount),
            side="buy" if t.isBid else "sell",
            ts_event=seconds(t.date),
        )
        for t in sorted(decode_trades(body), key=lambda t: t.tid)
    ]


def read_depth(raw_symbol: str, body: bytes) -> Iterable[Record]:
    d = decode_depth(body)
    return (BookSnapshot(raw_symbol=raw_symbol, bids=levels(d.bids), asks=levels(d.asks), reason="periodic"),)


def read_ticker(raw_symbol: str, body: bytes) -> Iterable[Record]:
    t = decode_ticker(body)
    return (Ticker(raw_symbol=raw_symbol, last=nonzero(t.ll), base_volume=optional(t.a), window_s=DAY_S),)


EXCHANGE = Exchange(
    id="bit2c",
    docs="https://bit2c.co.il/home/api",
    checked="2026-09, live probes by others",
    notes=(
        "There is no listing: the pairs are those that its documentation names.",
        "Books are polled whole. The hub of its web site pushes the ten best levels of each at once (September 2026).",
        "That hub is not used: it is not documented, and must be started by a request beside its socket.",
    ),
    trouble=coded("error"),  # ccxt reads it so: the only field of an answer that is none
    limits=Limits(weights={"https://bit2c.co.il": ((1, 1),)}),
    listing=Listing(fixed=tuple(Instrument(raw_symbol=pair, base=base, quote="NIS") for pair, base in BASES.items())),
    feeds=(
        Poll(
            name="trades",
            channels=("trades",),
            every=15,
            request=lambda s: Request(f"{API}/{s}/lasttrades"),  # it has 24 hours; `trades.json` is five minutes old
            parse=read_trades,
        ),
        Poll(
            name="book",
            channels=("book",),
            every=10,
            request=lambda s: Request(f"{API}/{s}/orderbook.json"),
            parse=read_depth,
        ),
        Poll(
            name="ticker",
            channels=("ticker",),
            every=60,
            request=lambda s: Request(f"{API}/{s}/Ticker.json"),
            parse=read_ticker,
        ),
    ),
)
