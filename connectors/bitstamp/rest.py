"""Answers by REST: whole books, all orders, tickers, the listing, and troubles."""

from collections.abc import Iterable, Mapping

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Trouble
from aggregator.records import DAY_S, HOUR_S, BookSnapshot, Instrument, OrdersSnapshot, Record, Ticker
from aggregator.wire import nonzero, seconds, step
from connectors.bitstamp.wires import decode_whole

API = "https://www.bitstamp.net/api/v2"
EIGHT_HOURS_S = 8 * HOUR_S
BAD_REQUEST = 400
TOO_MANY = {"400.002", "400.067", "400.068"}  # too many requests of an address, of a client, for a market


class Fault(Struct):
    """The body of an answer with HTTP 400."""

    response_code: str = ""


class AllOrders(Struct):
    """A book with one row for each order; those of one price stand in the order in which they came."""

    microtimestamp: str
    bids: list[tuple[str, str, str]]  # price, size, id
    asks: list[tuple[str, str, str]]


decode_fault = Decoder(Fault).decode
decode_orders = Decoder(AllOrders).decode


def read_book(raw_symbol: str, body: bytes) -> BookSnapshot:
    return decode_whole(body).snapshot(raw_symbol)


def read_orders(raw_symbol: str, body: bytes) -> OrdersSnapshot:
    whole = decode_orders(body)
    at = int(whole.microtimestamp)
    bids, asks = ([(id, price, size) for price, size, id in side] for side in (whole.bids, whole.asks))
    return OrdersSnapshot(raw_symbol=raw_symbol, bids=bids, asks=asks, sequence=at, ts_event=at * 1000)


def trouble(status: int, _: Mapping[str, str], body: bytes) -> Trouble | None:
    """The trouble of an exchange that was asked too much: its documentation has codes for that, and no HTTP status."""
    if status != BAD_REQUEST or decode_fault(body).response_code not in TOO_MANY:
        return None
    return Trouble(body[:200].decode(errors="replace"), is_busy=True)


class TickerWire(Struct):
    pair: str  # `BTC/USD`
    timestamp: str
    last: str | None = None
    high: str | None = None
    low: str | None = None
    volume: str | None = None
    vwap: str | None = None
    open_24: str | None = None  # 24 hours ago; `open` is the day's

    def record(self) -> Record:
        return Ticker(
            raw_symbol=market(self.pair),
            last=nonzero(self.last),
            open=nonzero(self.open_24),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=self.volume,
            vwap=nonzero(self.vwap),
            window_s=DAY_S,
            ts_sent=seconds(self.timestamp),
        )


decode_tickers = Decoder(list[TickerWire]).decode


def market(pair: str) -> str:
    """A market's name in addresses and channels: `BTC/USD-PERP` is `btcusd-perp`."""
    return pair.replace("/", "").lower()


def read_tickers(_: str, body: bytes) -> Iterable[Record]:
    return [ticker.record() for ticker in decode_tickers(body)]


class MarketWire(Struct):
    name: str
    base_decimals: int
    counter_decimals: int
    trading: str = "Enabled"
    contract_size: str | None = None
    minimum_order_amount: str | None = None
    maximum_order_amount: str | None = None
    minimum_order_value: str | None = None
    minimum_order: str = ""  # its form of old: `20.0 USD`


decode_markets = Decoder(list[Raw]).decode
decode_market = Decoder(MarketWire).decode


def read_market(row: Raw) -> Instrument:
    wire = decode_market(row)
    base, _, quote = wire.name.removesuffix("-PERP").partition("/")
    is_perpetual = wire.name.endswith("-PERP")
    return Instrument(
        raw_symbol=market(wire.name),
        kind="perpetual" if is_perpetual else "spot",
        base=base,
        quote=quote,
        settle=quote if is_perpetual else None,
        linear=True if is_perpetual else None,
        contract_size=wire.contract_size or "1" if is_perpetual else None,
        tick_size=step(wire.counter_decimals),
        lot_size=step(wire.base_decimals),
        min_size=wire.minimum_order_amount,
        max_size=wire.maximum_order_amount,
        min_notional=wire.minimum_order_value or wire.minimum_order.partition(" ")[0] or None,
        state="trading" if wire.trading == "Enabled" else "halt",
        funding_interval_s=EIGHT_HOURS_S if is_perpetual else None,
    )
