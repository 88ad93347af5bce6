"""Trades and candles of DigiFinex's perpetual contracts in its own spelling, and the records that they make.

https://docs.digifinex.com/en-ww/swap/v2/ws.html
Trades come newest first, and their ids say nothing of those between.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from aggregator.records import MS_NS, Candle, Record, Side, Trade
from aggregator.wire import Text, end_of, optional, past, text

SIDES: dict[str, Side] = {"1": "buy", "2": "sell", "3": "sell", "4": "buy"}  # opens a long, a short; closes them


class TradeRow(Struct, gc=False):
    instrument_id: str
    trade_id: str
    direction: Literal["1", "2", "3", "4"]
    volume: Text  # contracts
    price: Text
    trade_time: int  # milliseconds

    def record(self) -> Record:
        return Trade(
            raw_symbol=self.instrument_id,
            id=self.trade_id,
            price=text(self.price),
            size=text(self.volume),
            size_unit="contract",
            side=SIDES[self.direction],
            ts_event=self.trade_time * MS_NS,
        )


class TradesFrame(Struct, tag_field="event", tag="trades.update", gc=False):
    """Trades; those from before the subscription are `full_data` (Digifinex.Net has it, and the documentation not)."""

    data: list[TradeRow]
    full_data: bool = False

    def records(self) -> Iterable[Record]:
        trades = [row.record() for row in reversed(self.data)]
        return past(trades) if self.full_data else trades


class CandleWire(Struct, gc=False):
    instrument_id: str
    granularity: str
    candle: tuple[int, Text, Text, Text, Text, Text, Text]  # its start, prices, contracts, and what they are in coins


class CandleFrame(Struct, tag_field="event", tag="cur_candle.update", gc=False):
    """The running candle: no word says that one is final."""

    data: CandleWire

    def records(self) -> Iterable[Record]:
        said = self.data
        at, first, high, low, last, contracts, coins = said.candle
        start = at * MS_NS
        return (
            Candle(
                raw_symbol=said.instrument_id,
                interval=said.granularity,
                ts_open=start,
                ts_close=end_of(said.granularity, start),
                open=text(first),
                high=text(high),
                low=text(low),
                close=text(last),
                base_volume=optional(coins),
                contract_volume=optional(contracts),
            ),
        )
