"""Bitget's lists of instruments: one of spot, and one of each type of futures.

https://www.bitget.com/api-doc/contract/market/Get-All-Symbols-Contracts

Old captures have the lists of version 1, whose names end with the product:
https://bitgetlimited.github.io/apidoc/en/mix/#get-all-symbols
"""

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Raw, Struct, structs
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Listing, Request
from aggregator.records import HOUR_S, Instrument, MarketState
from aggregator.wire import ms, optional

STATES: dict[str, MarketState] = {
    "online": "trading",  # spot, to `offline`
    "halt": "halt",
    "offline": "delisted",
    "listed": "pre_open",  # contracts
    "normal": "trading",
    "restrictedAPI": "trading",
    "limit_open": "reduce_only",  # by its documentation; small positions have been seen to be opened
    "maintain": "maintenance",
    "off": "delisted",
}


VERSION_1 = {"SPBL": "", "UMCBL": "perpetual", "DMCBL": "perpetual", "CMCBL": "perpetual"}  # a product's `symbolType`


class InstrumentWire(Struct):
    symbol: str
    baseCoin: str
    quoteCoin: str
    status: str = ""  # spot, with these two
    pricePrecision: str = ""
    quantityPrecision: str = ""
    priceScale: str = ""  # version 1 calls them so
    quantityScale: str = ""
    volumePlace: str = ""  # version 1 may say no more of the step of a contract's size
    symbolType: str = ""  # contracts only, with all that follows but the last
    symbolStatus: str = ""
    supportMarginCoins: list[str] = []
    priceEndStep: str = ""  # a price is a multiple of it at the last of its places
    pricePlace: str = ""
    sizeMultiplier: str = ""
    minTradeNum: str = ""
    maxOrderQty: str = ""
    deliveryTime: str | None = None
    fundInterval: str | None = None  # hours, of perpetual contracts
    launchTime: str | None = None
    minTradeUSDT: str = ""  # in USDT, whatever the quote asset


class Answer(Struct):
    code: str
    msg: str = ""
    data: list[Raw] | None = None


decode_answer = Decoder(Answer).decode
decode_instrument = Decoder(InstrumentWire).decode


def rows(body: bytes) -> Iterable[Raw]:
    answer = decode_answer(body)
    if answer.code != "00000":
        raise BadFrame(f"the listing was refused: {answer.code}: {answer.msg}")
    return answer.data or ()


def read_instrument(row: Raw) -> Instrument:
    i = today(decode_instrument(row))
    is_spot, is_dated = not i.symbolType, i.symbolType == "delivery"
    settle = None if is_spot else settled_in(i)
    is_linear = settle != i.baseCoin
    return Instrument(
        raw_symbol=i.symbol,
        kind="spot" if is_spot else "future" if is_dated else "perpetual",
        base=i.baseCoin,
        quote=i.quoteCoin,
        settle=settle,
        linear=None if is_spot else is_linear,
        contract_size="1" if is_linear and not is_spot else None,  # inverse: sizes are of the base asset, not contracts
        tick_size=step("1", i.pricePrecision) if is_spot else step(i.priceEndStep, i.pricePlace),
        lot_size=step("1", i.quantityPrecision) if is_spot else optional(i.sizeMultiplier),
        min_size=optional(i.minTradeNum),
        max_size=optional(i.maxOrderQty),
        min_notional=optional(i.minTradeUSDT) if i.quoteCoin == "USDT" else None,
        expiry=ms(i.deliveryTime) if is_dated and i.deliveryTime else None,
        state=STATES.get(i.symbolStatus or i.status, "unknown"),
        ts_listed=ms(i.launchTime) if i.launchTime else None,
        funding_interval_s=int(i.fundInterval) * HOUR_S if i.fundInterval and not is_dated and not is_spot else None,
    )


def today(i: InstrumentWire) -> InstrumentWire:
    """Rewrite a row of version 1 as version 2 has it, under the name that its frames use."""
    name, _, product = i.symbol.partition("_")
    if product not in VERSION_1:
        return i
    return structs.replace(
        i,
        symbol=name,
        symbolType=VERSION_1[product],
        pricePrecision=i.priceScale,
        quantityPrecision=i.quantityScale,
        sizeMultiplier=i.sizeMultiplier or step("1", i.volumePlace) or "",
    )


def settled_in(i: InstrumentWire) -> str | None:
    """The asset in which a contract settles: base or quote if it is taken as margin, else the first that is."""
    margins = i.supportMarginCoins
    return next((asset for asset in (i.baseCoin, i.quoteCoin) if asset in margins), margins[0] if margins else None)


def step(last: str, places: str) -> str | None:
    """A step of `last` at so many decimal places."""
    return f"{Decimal(last).scaleb(-int(places)):f}" if last and places else None


def listing(rest: str, types: Iterable[str]) -> Listing:
    """Declare the requests for spot and for these types of futures."""
    contracts = [Request(f"{rest}/api/v2/mix/market/contracts?productType={type}") for type in types]
    return Listing(
        (Request(f"{rest}/api/v2/spot/public/symbols"), *contracts),
        rows,
        read_instrument,
        state=("symbolStatus", "status"),
    )
