"""MEXC's lists of instruments: one of spot pairs, one of contracts.

https://www.mexc.com/api-docs/futures/market-endpoints
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Details, Listing, Request
from aggregator.records import HOUR_S, MS_NS, Instrument, MarketState
from aggregator.wire import Text, is_zero, number, optional, step

PAIR_STATES: dict[str, MarketState] = {"1": "trading", "2": "halt", "3": "delisted", "ENABLED": "trading"}
CONTRACT_STATES: dict[int, MarketState] = {  # enabled, in delivery, delivered, offline, paused
    0: "trading",
    1: "settling",
    2: "delisted",
    3: "delisted",
    4: "halt",
}


class PairWire(Struct):
    symbol: str
    baseAsset: str
    quoteAsset: str
    status: str = ""
    baseAssetPrecision: int | None = None  # decimal places of a size
    quotePrecision: int | None = None  # decimal places of a price
    baseSizePrecision: str = ""  # the smallest size
    quoteAmountPrecision: str = ""  # the smallest price times size

    def record(self) -> Instrument:
        return Instrument(
            raw_symbol=self.symbol,
            base=self.baseAsset,
            quote=self.quoteAsset,
            tick_size=step(self.quotePrecision),
            lot_size=step(self.baseAssetPrecision),
            min_size=None if is_zero(self.baseSizePrecision) else self.baseSizePrecision,
            min_notional=optional(self.quoteAmountPrecision),
            state=PAIR_STATES.get(self.status, "unknown"),
        )


class ContractWire(Struct):
    symbol: str
    baseCoin: str
    quoteCoin: str
    settleCoin: str
    contractSize: Text
    priceUnit: Text = None
    volUnit: Text = None
    minVol: Text = None
    maxVol: Text = None
    state: int = -1
    openingTime: int | None = None  # ms

    def record(self) -> Instrument:
        return Instrument(
            raw_symbol=self.symbol,
            kind="perpetual",
            base=self.baseCoin,
            quote=self.quoteCoin,
            settle=self.settleCoin,
            linear=self.settleCoin == self.quoteCoin,
            contract_size=optional(self.contractSize),
            tick_size=optional(self.priceUnit),
            lot_size=optional(self.volUnit),
            min_size=optional(self.minVol),
            max_size=optional(self.maxVol),
            state=CONTRACT_STATES.get(self.state, "unknown"),
            ts_listed=self.openingTime * MS_NS if self.openingTime else None,
        )


class Answer(Struct):
    symbols: list[Raw] | None = None  # pairs
    data: list[Raw] | None = None  # contracts
    msg: str = ""
    message: str = ""


class CycleWire(Struct):
    symbol: str
    collectCycle: int | None  # hours
    nextSettleTime: int | None = None  # ms


decode_answer = Decoder(Answer).decode
decode_cycle = Decoder(CycleWire).decode
decode_pair = Decoder(PairWire, float_hook=number).decode
decode_contract = Decoder(ContractWire, float_hook=number).decode


def rows(body: bytes) -> Iterable[Raw]:
    answer = decode_answer(body)
    found = answer.data if answer.symbols is None else answer.symbols
    if found is None:
        raise BadFrame(f"the listing was refused: {answer.msg or answer.message}")
    return found


def read_instrument(row: Raw) -> Instrument:
    return decode_contract(row).record() if b'"settleCoin"' in bytes(row) else decode_pair(row).record()


def read_cycle(row: Raw) -> Instrument:
    """How often a contract's funding is exchanged, and when: the list of contracts does not say, nor does a ticker."""
    wire = decode_cycle(row)
    interval = wire.collectCycle * HOUR_S if wire.collectCycle else None
    return Instrument(
        raw_symbol=wire.symbol,
        kind="perpetual",
        funding_interval_s=interval,
        funding_offset_s=wire.nextSettleTime // 1000 % interval if wire.nextSettleTime and interval else None,
    )


def listing(spot: str, contract: str) -> Listing:
    """Declare the requests."""
    return Listing(
        (Request(f"{spot}/exchangeInfo", weight=10), Request(f"{contract}/detail")),
        rows,
        read_instrument,
        details=(Details(Request(f"{contract}/funding_rate"), rows, read_cycle),),
    )
