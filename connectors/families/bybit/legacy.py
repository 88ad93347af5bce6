"""The messages that Bybit sent until 2025: the topic of liquidations before `allLiquidation`, which told one a second.

https://bybit-exchange.github.io/docs/v5/websocket/public/liquidation
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Event
from aggregator.records import Liquidation, SizeUnit
from aggregator.wire import ms


class ForcedRow(Struct, gc=False):
    """A liquidation in version 5 of the exchange's interface, and in version 2 before it."""

    symbol: str
    side: Literal["Buy", "Sell"]  # the position's: "Buy" says that a long was liquidated
    price: str  # the bankruptcy price
    size: str | None = None
    updatedTime: int | None = None
    qty: str | None = None  # version 2, as what follows
    time: int | None = None

    def record(self, unit: SizeUnit, sent: int | None) -> Liquidation:
        size, at = self.size or self.qty, self.updatedTime or self.time
        if size is None or at is None:
            raise BadFrame(f"a liquidation of {self.symbol} without a size or a time")
        is_long = self.side == "Buy"
        return Liquidation(
            raw_symbol=self.symbol,
            side="sell" if is_long else "buy",
            position="long" if is_long else "short",
            price=self.price,
            price_kind="bankruptcy",
            size=size,
            size_unit=unit,
            sampled=True,
            ts_event=ms(at),
            ts_sent=sent,
        )


class Forced(Struct, gc=False):
    data: ForcedRow
    ts: int | None = None


decode_forced = Decoder(Forced).decode


def read_forced(frame: bytes, unit: SizeUnit) -> Iterable[Event]:
    said = decode_forced(frame)
    return (said.data.record(unit, None if said.ts is None else ms(said.ts)),)
