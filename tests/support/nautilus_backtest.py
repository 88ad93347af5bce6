"""A backtest of nautilus_trader 1.x on a catalogue: it looks at the best prices after each record, and buys once."""

from pathlib import Path
from typing import Any

from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.enums import AccountType, BookType, OmsType, OrderSide
from nautilus_trader.model.objects import Currency, Money, Quantity
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.trading.strategy import Strategy

Seen = tuple[int, str | None, str | None]


class Buyer(Strategy):  # type: ignore[misc]  # the library need not be here
    """It buys half a unit at the market once a time has come."""

    def __init__(self, instrument: Any, buys_at: int) -> None:
        super().__init__()
        self.instrument, self.buys_at = instrument, buys_at
        self.seen: list[Seen] = []
        self.has_bought = False

    def on_start(self) -> None:
        self.subscribe_order_book_deltas(self.instrument.id, BookType.L2_MBP)

    def on_order_book_deltas(self, deltas: Any) -> None:
        book = self.cache.order_book(self.instrument.id)
        bid, ask = (None if price is None else str(price) for price in (book.best_bid_price(), book.best_ask_price()))
        self.seen.append((deltas.ts_init, bid, ask))
        if not self.has_bought and deltas.ts_init >= self.buys_at:
            self.has_bought = True
            order = self.order_factory.market(self.instrument.id, OrderSide.BUY, Quantity.from_str("0.500"))
            self.submit_order(order)


def run(path: Path, buys_at: int) -> tuple[list[Seen], list[tuple[str, str]]]:
    """What the strategy saw, and its orders: the price and what was filled."""
    catalogue = ParquetDataCatalog(str(path))
    (instrument,) = catalogue.instruments()
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    money = [Money(10_000, Currency.from_str("USDT"))]
    engine.add_venue(instrument.id.venue, OmsType.NETTING, AccountType.CASH, money, book_type=BookType.L2_MBP)
    engine.add_instrument(instrument)
    engine.add_data(catalogue.order_book_deltas(batched=True))
    engine.add_data(catalogue.trade_ticks())
    buyer = Buyer(instrument, buys_at)
    engine.add_strategy(buyer)
    engine.run()
    orders = [(str(order.avg_px), str(order.filled_qty)) for order in engine.cache.orders()]
    engine.dispose()
    return buyer.seen, orders
