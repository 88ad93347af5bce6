"""The messages of channels of the Deribit protocol that are not subscribed to here; recordings of others hold them.

https://docs.deribit.com/subscriptions/orderbook/bookinstrument_namegroupdepthinterval
https://docs.deribit.com/subscriptions/market-data/perpetualinstrument_nameinterval
"""

from msgspec import Struct

from aggregator.records import BookSnapshot, Funding, IndexPrice, Record
from aggregator.wire import Text, levels, ms, nonzero, text
from connectors.families.deribit.wires import FUNDING_S


class BestLevels(Struct, gc=False):
    """A book that is cut to some levels a side, and sent whole."""

    instrument_name: str
    timestamp: int
    change_id: int
    bids: list[list[Text]]  # price, amount
    asks: list[list[Text]]

    def record(self, depth: int) -> Record:
        return BookSnapshot(
            raw_symbol=self.instrument_name,
            bids=levels(self.bids),
            asks=levels(self.asks),
            depth=depth,
            reason="periodic",
            sequence=self.change_id,
            ts_event=ms(self.timestamp),
        )


class PerpetualData(Struct, gc=False):
    timestamp: int
    interest: Text  # the funding of this moment, as the ticker has it
    index_price: Text = None

    def records(self, raw_symbol: str) -> list[Record]:
        at = ms(self.timestamp)
        found: list[Record] = [
            Funding(raw_symbol=raw_symbol, rate=text(self.interest), interval_s=FUNDING_S, ts_event=at)
        ]
        if index := nonzero(self.index_price):
            found.append(IndexPrice(raw_symbol=raw_symbol, price=index, ts_event=at))
        return found
