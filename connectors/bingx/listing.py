"""BingX's markets, of three lists with rows of their own.

https://bingx-api.github.io/docs-v3/
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Listing, Request
from aggregator.records import Instrument, MarketState
from aggregator.wire import Text, either, number, optional, step

REST = "https://open-api.bingx.com/openApi"
CONTRACTS: dict[str, MarketState] = {
    "1": "trading",
    "0": "halt",  # offline
    "5": "pre_open",
    "25": "reduce_only",  # positions cannot be opened
}
PAIRS = CONTRACTS | {
    "10": "pre_open",  # accessed: listed, and not traded yet
    "25": "halt",
    "30": "delisted",
}
PRE_DELISTED = "29"  # two words beside it say whether the pair can still be traded


class PairWire(Struct):
    symbol: str
    status: Text
    stepSize: Text
    tickSize: Text
    minQty: Text = None
    maxQty: Text = None
    minNotional: Text = None
    apiStateBuy: bool | str | None = None  # such words are text where contracts have them
    apiStateSell: bool | str | None = None

    def state(self) -> MarketState:
        status, can = str(self.status), {self.apiStateBuy, self.apiStateSell}
        if status != PRE_DELISTED or None in can:
            return PAIRS.get(status, "unknown")
        return "trading" if can & {True, "true"} else "halt"


class ContractWire(Struct):
    symbol: str
    status: Text
    pricePrecision: Text
    asset: str = ""  # contracts settled in `currency` have it; those settled in coins have neither
    currency: str = ""
    quantityPrecision: Text = None
    tradeMinQuantity: Text = None
    tradeMinUSDT: Text = None
    minQty: Text = None  # contracts settled in coins have it
    minTickSize: Text = None  # the size of one contract in the quote asset, where it settles in coins


class Pairs(Struct):
    symbols: list[Raw]


class PairsAnswer(Struct):
    data: Pairs


class ContractsAnswer(Struct):
    data: list[Raw]


decode_rows = either(Decoder(ContractsAnswer).decode, Decoder(PairsAnswer).decode)
decode_pair = Decoder(PairWire, float_hook=number).decode
decode_contract = Decoder(ContractWire, float_hook=number).decode


def rows(body: bytes) -> Iterable[Raw]:
    data = decode_rows(body).data
    return data.symbols if isinstance(data, Pairs) else data


def read_market(row: Raw) -> Instrument:
    """Only pairs have a step of their sizes; contracts have decimals."""
    return read_pair(row) if b'"stepSize"' in bytes(row) else read_contract(row)


def read_pair(row: Raw) -> Instrument:
    p = decode_pair(row)
    base, _, quote = p.symbol.rpartition("-")
    return Instrument(
        raw_symbol=p.symbol,
        base=base,
        quote=quote,
        tick_size=optional(p.tickSize),
        lot_size=optional(p.stepSize),
        min_size=optional(p.minQty),
        max_size=optional(p.maxQty),
        min_notional=optional(p.minNotional),
        state=p.state(),
    )


def read_contract(row: Raw) -> Instrument:
    c = decode_contract(row)
    base, _, quote = c.symbol.rpartition("-")
    is_in_coins = not c.currency
    return Instrument(
        raw_symbol=c.symbol,
        kind="perpetual",
        base=c.asset or base,
        quote=c.currency or quote,
        settle=c.currency or base,
        linear=not is_in_coins,
        contract_size=optional(c.minTickSize) if is_in_coins else "1",
        tick_size=step(c.pricePrecision),
        lot_size="1" if is_in_coins else step(c.quantityPrecision),
        min_size=optional(c.minQty) if is_in_coins else optional(c.tradeMinQuantity),
        min_notional=optional(c.tradeMinUSDT),
        state=CONTRACTS.get(str(c.status), "unknown"),
    )


def is_spot(instrument: Instrument) -> bool:
    return instrument.kind == "spot"


def is_linear(instrument: Instrument) -> bool:
    return instrument.linear is True


def is_inverse(instrument: Instrument) -> bool:
    return instrument.linear is False


LISTING = Listing(
    (
        Request(f"{REST}/spot/v1/common/symbols"),
        Request(f"{REST}/swap/v2/quote/contracts"),
        Request(f"{REST}/cswap/v1/market/contracts", fresh="timestamp"),  # it must be given
    ),
    rows,
    read_market,
)
