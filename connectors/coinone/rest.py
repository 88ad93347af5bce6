"""Coinone's answers by REST: past trades, and the markets."""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Request, Since
from aggregator.records import Instrument, MarketState, Trade
from aggregator.wire import Text, as_written, optional
from connectors.coinone.wires import TradeRow, name_of

API = "https://api.coinone.co.kr"
STATES: dict[int, MarketState] = {0: "halt", 1: "trading"}


class PastTrades(Struct):
    transactions: list[TradeRow]


class Market(Struct):
    quote_currency: str
    target_currency: str
    trade_status: int  # 0: no trade; 2: nobody may buy; 3: nobody may sell
    maintenance_status: int
    price_unit: Text = None
    qty_unit: Text = None
    min_qty: Text = None
    max_qty: Text = None
    min_order_amount: Text = None


decode_past = Decoder(PastTrades).decode
decode_market = Decoder(Market, float_hook=as_written).decode


def missed(raw_symbol: str, _: Since) -> Request:
    return Request(f"{API}/public/v2/trades/{raw_symbol.replace('-', '/')}?size=200")


def read_missed(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    trades = [row.record(raw_symbol) for row in decode_past(body).transactions]
    return sorted(trades, key=lambda trade: trade.sequence or 0)


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    return Instrument(
        raw_symbol=name_of(m.quote_currency, m.target_currency),
        base=m.target_currency,
        quote=m.quote_currency,
        tick_size=optional(m.price_unit),
        lot_size=optional(m.qty_unit),
        min_size=optional(m.min_qty),
        max_size=optional(m.max_qty),
        min_notional=optional(m.min_order_amount),
        state="maintenance" if m.maintenance_status else STATES.get(m.trade_status, "unknown"),
    )
