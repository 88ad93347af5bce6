"""Requests and answers by REST: past trades, tickers, the listing."""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Request, Since
from aggregator.records import DAY_S, MS_NS, Instrument, Record, Ticker, Trade
from aggregator.wire import Text, bbo, ms, nonzero, optional, step, text
from connectors.luno.wires import STATES, state_of

HOST = "https://api.luno.com"
API = f"{HOST}/api/1"


class TradeRow(Struct, gc=False):
    sequence: int
    timestamp: int
    price: Text
    volume: Text
    is_buy: bool  # the taker bought

    def record(self, raw_symbol: str) -> Trade:
        return Trade(
            raw_symbol=raw_symbol,
            id=str(self.sequence),
            sequence=self.sequence,
            price=text(self.price),
            size=text(self.volume),
            side="buy" if self.is_buy else "sell",
            ts_event=ms(self.timestamp),
        )


class Trades(Struct):
    trades: list[TradeRow] | None  # null where there are none


class TickerRow(Struct):
    pair: str
    timestamp: int  # its last change
    bid: Text = None
    ask: Text = None
    last_trade: Text = None
    rolling_24_hour_volume: Text = None
    status: str = "UNKNOWN"

    def records(self) -> Iterable[Record]:
        when = ms(self.timestamp)
        yield Ticker(
            raw_symbol=self.pair,
            last=nonzero(self.last_trade),
            base_volume=optional(self.rolling_24_hour_volume),
            window_s=DAY_S,
            ts_event=when,
        )
        yield bbo(self.pair, self.bid, None, self.ask, None, ts_event=when)
        yield state_of(self.status, raw_symbol=self.pair)


class Tickers(Struct):
    tickers: list[TickerRow]


class Market(Struct):
    market_id: str
    base_currency: str
    counter_currency: str
    trading_status: str = "UNKNOWN"
    min_volume: Text = None
    max_volume: Text = None
    volume_scale: Text = None
    price_scale: Text = None


decode_trades = Decoder(Trades).decode
decode_tickers = Decoder(Tickers).decode
decode_market = Decoder(Market).decode


def missed(raw_symbol: str, since: Since) -> Request:
    return Request(f"{API}/trades?pair={raw_symbol}&since={since.ts // MS_NS}")


def read_trades(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    return [row.record(raw_symbol) for row in sorted(decode_trades(body).trades or (), key=lambda row: row.sequence)]


def read_tickers(_: str, body: bytes) -> Iterable[Record]:
    return [record for row in decode_tickers(body).tickers for record in row.records()]


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    return Instrument(
        raw_symbol=m.market_id,
        base=m.base_currency,
        quote=m.counter_currency,
        tick_size=step(m.price_scale),
        lot_size=step(m.volume_scale),
        min_size=optional(m.min_volume),
        max_size=optional(m.max_volume),
        state=STATES.get(m.trading_status, "unknown"),
    )
