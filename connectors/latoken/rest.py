"""Answers by REST, the listing among them: no answer has both an instrument's names and its steps."""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.records import Instrument, Record
from aggregator.wire import bbo, ms, nonzero

API = "https://api.latoken.com/v2"


class Currencies(Struct):
    """A pair of currencies, by their ids: the name by which the stream knows a market."""

    baseCurrency: str
    quoteCurrency: str

    @property
    def name(self) -> str:
        return f"{self.baseCurrency}/{self.quoteCurrency}"


class TickerWire(Currencies):
    symbol: str  # by the currencies' tags
    bestBid: str | None = None
    bestBidQuantity: str | None = None
    bestAsk: str | None = None
    bestAskQuantity: str | None = None
    updateTimestamp: int | None = None  # 0 is none

    def record(self) -> Record:
        at = ms(self.updateTimestamp) if self.updateTimestamp else None
        return bbo(self.name, self.bestBid, self.bestBidQuantity, self.bestAsk, self.bestAskQuantity, ts_event=at)


class PairWire(Currencies):
    status: str  # the pairs that have tickers are the active ones
    priceTick: str | None = None
    quantityTick: str | None = None
    minOrderQuantity: str | None = None


rows = Decoder(list[Raw]).decode
decode_ticker = Decoder(TickerWire).decode
decode_tickers = Decoder(list[TickerWire]).decode
decode_pair = Decoder(PairWire).decode


def read_market(row: Raw) -> Instrument:
    m = decode_ticker(row)
    base, _, quote = m.symbol.rpartition("/")
    return Instrument(raw_symbol=m.name, base=base, quote=quote)


def read_pair(row: Raw) -> Instrument:
    p = decode_pair(row)
    return Instrument(
        raw_symbol=p.name,
        tick_size=nonzero(p.priceTick),
        lot_size=nonzero(p.quantityTick),
        min_size=nonzero(p.minOrderQuantity),
    )


def read_best(_: str, body: bytes) -> Iterable[Record]:
    return [ticker.record() for ticker in decode_tickers(body)]
