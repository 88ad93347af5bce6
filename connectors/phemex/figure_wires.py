"""The figures of 24 hours, which come for every symbol of a market once a second.

https://phemex-docs.github.io/#hours-ticker-message
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.errors import BadFrame
from aggregator.records import DAY_S, Funding, IndexPrice, MarkPrice, OpenInterest, Record, SizeUnit, Ticker
from aggregator.wire import nonzero, unscaled
from connectors.phemex.wires import CONTRACT_PLACES, RATE_PLACES, SPOT_PLACES


class SpotWire(Struct):
    symbol: str
    openEp: int
    highEp: int
    lowEp: int
    lastEp: int
    volumeEv: int  # in the base asset
    turnoverEv: int  # in the quote asset
    timestamp: int | None = None  # ns


class SpotFrame(Struct):
    spot_market24h: SpotWire
    timestamp: int  # ns

    def records(self) -> Iterable[Record]:
        s = self.spot_market24h
        yield Ticker(
            raw_symbol=s.symbol,
            last=nonzero(unscaled(s.lastEp, SPOT_PLACES)),
            open=nonzero(unscaled(s.openEp, SPOT_PLACES)),
            high=nonzero(unscaled(s.highEp, SPOT_PLACES)),
            low=nonzero(unscaled(s.lowEp, SPOT_PLACES)),
            base_volume=unscaled(s.volumeEv, SPOT_PLACES),
            quote_volume=unscaled(s.turnoverEv, SPOT_PLACES),
            window_s=DAY_S,
            ts_event=s.timestamp,
            ts_sent=self.timestamp,
        )


class ContractWire(Struct):
    """Turnover, scaled as the asset is in which the contract settles, is not told."""

    symbol: str
    open: int
    high: int
    low: int
    close: int
    volume: int | None = None  # contracts
    timestamp: int | None = None  # ns
    indexPrice: int | None = None
    markPrice: int | None = None
    openInterest: int | None = None  # contracts
    fundingRate: int | None = None
    predFundingRate: int | None = None


class ContractFrame(Struct):
    market24h: ContractWire
    timestamp: int  # ns

    def records(self) -> Iterable[Record]:
        c = self.market24h
        told = Figures(
            c.symbol,
            price(c.open),
            price(c.high),
            price(c.low),
            price(c.close),
            price(c.indexPrice),
            price(c.markPrice),
            None,
            None,
            None if c.openInterest is None else str(c.openInterest),
            rate(c.fundingRate),
            rate(c.predFundingRate),
            None if c.volume is None else str(c.volume),
        )
        return told.records("contract", c.timestamp, self.timestamp)


def price(number: int | None) -> str | None:
    return None if number is None else unscaled(number, CONTRACT_PLACES)


def rate(number: int | None) -> str | None:
    return None if number is None else unscaled(number, RATE_PLACES)


FIELDS = (
    "symbol",
    "openRp",
    "highRp",
    "lowRp",
    "lastRp",
    "volumeRq",
    "turnoverRv",
    "openInterestRv",
    "indexRp",
    "markRp",
    "fundingRateRr",
    "predFundingRateRr",
)


class PackFrame(Struct):
    """Figures of all newer contracts. `fields` names the columns; older frames lack it, and have the first ones."""

    method: str
    data: list[list[str | None]]
    timestamp: int  # ns
    fields: tuple[str, ...] = FIELDS

    def records(self) -> Iterable[Record]:
        if not COLUMNS.keys() <= set(self.fields):
            raise BadFrame(f"{self.method} without the columns {sorted(COLUMNS.keys() - set(self.fields))}")
        at = {ours: self.fields.index(theirs) for theirs, ours in COLUMNS.items()}
        for row in self.data:
            told = Figures(**{ours: row[place] for ours, place in at.items()})
            yield from told.records("base", None, self.timestamp)


COLUMNS = {
    "symbol": "symbol",
    "openRp": "open",
    "highRp": "high",
    "lowRp": "low",
    "lastRp": "last",
    "indexRp": "index",
    "markRp": "mark",
    "volumeRq": "base_volume",
    "turnoverRv": "quote_volume",
    "openInterestRv": "open_interest",
    "fundingRateRr": "rate",
    "predFundingRateRr": "predicted",
}


class Figures(Struct):
    """The figures of one contract, as decimal text."""

    symbol: str | None
    open: str | None
    high: str | None
    low: str | None
    last: str | None
    index: str | None
    mark: str | None
    base_volume: str | None
    quote_volume: str | None
    open_interest: str | None
    rate: str | None
    predicted: str | None
    contract_volume: str | None = None

    def records(self, unit: SizeUnit, at: int | None, sent: int) -> Iterable[Record]:
        name = self.symbol
        yield Ticker(
            raw_symbol=name,
            last=nonzero(self.last),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=self.base_volume,
            quote_volume=self.quote_volume,
            contract_volume=self.contract_volume,
            window_s=DAY_S,
            ts_event=at,
            ts_sent=sent,
        )
        if mark := nonzero(self.mark):
            yield MarkPrice(raw_symbol=name, price=mark, ts_event=at, ts_sent=sent)
        if index := nonzero(self.index):
            yield IndexPrice(raw_symbol=name, price=index, ts_event=at, ts_sent=sent)
        if self.rate:
            yield Funding(raw_symbol=name, rate=self.rate, ts_event=at, ts_sent=sent)
        if self.predicted and self.predicted != self.rate:  # mostly both are one number, told twice
            yield Funding(raw_symbol=name, rate=self.predicted, kind="predicted", ts_event=at, ts_sent=sent)
        if self.open_interest:
            yield OpenInterest(raw_symbol=name, size=self.open_interest, size_unit=unit, ts_event=at, ts_sent=sent)
