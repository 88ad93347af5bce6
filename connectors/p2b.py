"""P2B, of the family of ViaBTC's servers: books by the stream, trades and statistics by REST.

https://github.com/P2B-team/P2B-WSS-Public/blob/main/wss_documentation.md
https://github.com/P2B-team/p2b-api-docs/blob/master/api-doc.md
A second book that is asked for takes the place of the first, so each has a connection of its own. Subscriptions to
trades, statistics and prices were confirmed in September 2026 and brought nothing: captures of them from before are
read. Candles of the socket do not say of which interval they are, and are left alone.
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Listing, Poll, Request, Stream
from aggregator.records import DAY_S, Channel, Instrument, Record, Ticker
from aggregator.refusals import coded
from aggregator.wire import Text, at, nonzero, number, optional, seconds
from connectors.families.viabtc.dotted_frames import PING, asking, parser
from connectors.families.viabtc.dotted_wires import TradeRow

API = "https://api.p2pb2b.com/api/v2/public"
WS = "wss://apiws.p2pb2b.com/"
BOOK: dict[Channel, str] = {"book": "depth"}
LISTS: dict[Channel, str] = {"trades": "deals", "ticker": "state"}
WORDS = ("depth", "deals", "state")
DEPTH = 100  # levels a side, the most that is offered
SILENT = "2026-09-01"


class Trades(Struct):
    result: list[TradeRow]


class Figures(Struct):
    last: str | None = None
    high: str | None = None
    low: str | None = None
    vol: str | None = None
    deal: str | None = None  # in the quote asset


class TickerRow(Struct):
    at: Text  # seconds: when the exchange made it, up to ten seconds before it is had
    ticker: Figures


class Tickers(Struct):
    result: dict[str, TickerRow]


class LimitsWire(Struct):
    min_amount: Text = None
    max_amount: Text = None
    step_size: Text = None
    tick_size: Text = None
    min_total: Text = None


class MarketWire(Struct):
    name: str
    stock: str
    money: str
    limits: LimitsWire


decode_trades = Decoder(Trades, strict=False, float_hook=number).decode
decode_tickers = Decoder(Tickers, float_hook=number).decode
decode_market = Decoder(MarketWire, float_hook=number).decode


def read_trades(raw_symbol: str, body: bytes) -> Iterable[Record]:
    return [row.record(raw_symbol) for row in reversed(decode_trades(body).result)]


def read_tickers(_: str, body: bytes) -> Iterable[Record]:
    for name, row in decode_tickers(body).result.items():
        said = row.ticker
        yield Ticker(
            raw_symbol=name,
            last=nonzero(said.last),
            high=nonzero(said.high),
            low=nonzero(said.low),
            base_volume=optional(said.vol),
            quote_volume=optional(said.deal),
            window_s=DAY_S,
            ts_sent=seconds(row.at),
        )


def read_market(row: Raw) -> Instrument:
    wire = decode_market(row)
    return Instrument(
        raw_symbol=wire.name,
        base=wire.stock,
        quote=wire.money,
        tick_size=optional(wire.limits.tick_size),
        lot_size=optional(wire.limits.step_size),
        min_size=optional(wire.limits.min_amount),
        max_size=optional(wire.limits.max_amount),
        min_notional=optional(wire.limits.min_total),
    )


EXCHANGE = Exchange(
    id="p2b",
    docs="https://github.com/P2B-team/P2B-WSS-Public",
    checked="2026-09, live probes by others",
    trouble=coded("errorCode", "message", fine=("",)),
    notes=(
        "The book is told once a second, and is without numbers; a whole one comes again about each minute.",
        "A market that is not known is confirmed all the same, and then silent.",
        "Trades and statistics are asked for by REST: subscriptions to them bring nothing (September 2026).",
        "Candles are had by REST alone, of one market and interval at a time, and are not followed.",
        "Best prices are in no stream, and those of REST are ten seconds old: the book has them.",
    ),
    listing=Listing((Request(f"{API}/markets"),), at("result"), read_market),
    feeds=(
        Stream(
            name="book",
            url=WS,
            channels=BOOK,
            subscribe=asking(WORDS, BOOK, DEPTH, "0"),  # "0": prices are not merged
            parse=parser(WORDS, BOOK),
            heartbeat=PING,
            depth=DEPTH,
            per_connection=1,
            batch=1,
        ),
        Stream(
            name="lists",
            url=WS,
            until=SILENT,
            channels=LISTS,
            subscribe=asking(WORDS, LISTS),
            parse=parser(WORDS, LISTS),
            heartbeat=PING,
            batch=200,
            replaces=True,
        ),
        Poll(
            name="trades",
            channels=("trades",),
            every=15,
            request=lambda name: Request(f"{API}/history?market={name}&lastId=1&limit=100"),
            parse=read_trades,
        ),
        Poll(
            name="tickers",
            channels=("ticker",),
            every=10,
            request=lambda _: Request(f"{API}/tickers"),
            parse=read_tickers,
            many=True,
        ),
    ),
)
