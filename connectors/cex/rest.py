"""The answers of CEX.IO by REST: pairs, trades and statistics. Each is asked for by POST.

https://trade.cex.io/docs/
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Request
from aggregator.records import DAY_S, Instrument, Record, Side, Ticker, Trade
from aggregator.wire import Text, bbo, encode, from_iso, nonzero, number, optional, step, text

API = "https://trade.cex.io/api/spot/rest-public"
JSON = {"Content-Type": "application/json"}
SIDES: dict[str, Side] = {"BUY": "buy", "SELL": "sell"}  # the side is the taker's


class TradeRow(Struct, gc=False):
    tradeId: str
    dateISO: str
    side: str
    price: Text
    amount: Text

    def record(self, raw_symbol: str | None) -> Trade:
        return Trade(
            raw_symbol=raw_symbol,
            id=self.tradeId,
            price=text(self.price),
            size=text(self.amount),
            side=SIDES[self.side],
            ts_event=from_iso(self.dateISO),
        )


class Trades(Struct):
    trades: list[TradeRow]


class TradesAnswer(Struct):
    data: Trades


class TickerWire(Struct):
    bestBid: Text = None
    bestAsk: Text = None
    high: Text = None
    low: Text = None
    volume: Text = None
    quoteVolume: Text = None
    lastTradePrice: Text = None  # `last` follows the quotes


class TickersAnswer(Struct):
    data: dict[str, TickerWire]


class PairWire(Struct):
    base: str
    quote: str
    pricePrecision: Text = None  # decimals
    baseLotSize: Text = None
    baseMin: Text = None
    baseMax: Text = None
    quoteMin: Text = None


decode_trades = Decoder(TradesAnswer, float_hook=number).decode
decode_tickers = Decoder(TickersAnswer, float_hook=number).decode
decode_pair = Decoder(PairWire, float_hook=number).decode


def post(path: str, body: object) -> Request:
    return Request(f"{API}/{path}", method="POST", body=encode(body), headers=JSON)


def read_trades(raw_symbol: str, body: bytes) -> Iterable[Record]:
    """The newest comes first."""
    return [row.record(raw_symbol) for row in reversed(decode_trades(body).data.trades)]


def read_tickers(_: str, body: bytes) -> Iterable[Record]:
    for name, said in decode_tickers(body).data.items():
        yield Ticker(
            raw_symbol=name,
            last=nonzero(said.lastTradePrice),
            high=nonzero(said.high),
            low=nonzero(said.low),
            base_volume=optional(said.volume),
            quote_volume=optional(said.quoteVolume),
            window_s=DAY_S,
        )
        yield bbo(name, said.bestBid, None, said.bestAsk, None)


def read_pair(row: Raw) -> Instrument:
    wire = decode_pair(row)
    return Instrument(
        raw_symbol=f"{wire.base}-{wire.quote}",
        base=wire.base,
        quote=wire.quote,
        tick_size=step(wire.pricePrecision),
        lot_size=optional(wire.baseLotSize),
        min_size=optional(wire.baseMin),
        max_size=optional(wire.baseMax),
        min_notional=optional(wire.quoteMin),
    )
