"""Bybit's listing of each market, and the errors of its REST.

https://bybit-exchange.github.io/docs/v5/market/instrument
"""

from collections.abc import Collection, Iterable, Mapping
from urllib.parse import quote, unquote

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Listing, Request, Trouble
from aggregator.records import Instrument, Kind, MarketState
from aggregator.refusals import coded
from aggregator.wire import ms, optional

STATES: dict[str, MarketState] = {
    "Trading": "trading",
    "PreLaunch": "pre_open",
    "Delivering": "settling",
    "Settling": "settling",
    "Closed": "delisted",
}
QUERIES = {  # where no asset is named, options are those of BTC alone (its documentation, 2026)
    "spot": ("spot",),
    "linear": ("linear", "linear&status=PreLaunch"),
    "inverse": ("inverse",),
    "option": ("option&baseCoin=All",),
}
TOO_FREQUENT = 403  # the status of an answer to an address that asked too often: it is locked out for ten minutes
LOCKED_S = 600.0


class PriceFilter(Struct):
    tickSize: str = ""


class LotFilter(Struct):
    qtyStep: str = ""
    basePrecision: str = ""  # spot
    minOrderQty: str = ""  # spot has it, and the exchange no longer looks at it
    maxOrderQty: str = ""
    maxLimitOrderQty: str = ""  # spot, in place of maxOrderQty
    minNotionalValue: str = ""
    minOrderAmt: str = ""  # spot


class InstrumentWire(Struct):
    symbol: str
    status: str
    baseCoin: str
    quoteCoin: str
    priceFilter: PriceFilter
    lotSizeFilter: LotFilter
    contractType: str = ""  # futures only
    optionsType: str = ""  # options only
    settleCoin: str = ""
    launchTime: str = ""
    fundingInterval: int = 0  # minutes, of perpetual contracts
    deliveryTime: str = ""  # for a perpetual this is when it is delisted


class Listed(Struct):
    rows: list[Raw] = field(name="list")


class Page(Struct, frozen=True):
    nextPageCursor: str | None = None


class Paged(Struct):
    result: Page = Page()


class Answer(Struct):
    retCode: int
    retMsg: str = ""
    result: Raw = Raw()


decode_answer = Decoder(Answer).decode
decode_page = Decoder(Paged).decode
decode_listed = Decoder(Listed).decode
decode_instrument = Decoder(InstrumentWire).decode


def rows(body: bytes) -> Iterable[Raw]:
    answer = decode_answer(body)
    if answer.retCode:
        raise BadFrame(f"the listing was refused: {answer.retCode}: {answer.retMsg}")
    return decode_listed(answer.result).rows


def read_instrument(row: Raw) -> Instrument:
    i = decode_instrument(row)
    lot, is_spot = i.lotSizeFilter, not i.contractType and not i.optionsType
    kind: Kind = "spot" if is_spot else "option" if i.optionsType else "future"
    if i.contractType.endswith("Perpetual"):
        kind = "perpetual"
    is_dated = kind in {"future", "option"}
    return Instrument(
        raw_symbol=i.symbol,
        kind=kind,
        base=i.baseCoin,
        quote=i.quoteCoin,
        settle=None if is_spot else i.settleCoin,
        linear=None if is_spot else i.settleCoin != i.baseCoin,
        contract_size=None if is_spot else "1",
        tick_size=optional(i.priceFilter.tickSize),
        lot_size=optional(lot.basePrecision if is_spot else lot.qtyStep),
        min_size=None if is_spot else optional(lot.minOrderQty),
        max_size=optional(lot.maxLimitOrderQty) or optional(lot.maxOrderQty),
        min_notional=optional(lot.minOrderAmt if is_spot else lot.minNotionalValue),
        expiry=ms(i.deliveryTime) if is_dated and i.deliveryTime else None,
        strike=i.symbol.split("-")[2] if i.optionsType else None,
        option_type={"Call": "call", "Put": "put"}.get(i.optionsType),  # type: ignore[arg-type]
        state=STATES.get(i.status, "unknown"),
        ts_listed=ms(i.launchTime) if i.launchTime.strip("0") else None,
        funding_interval_s=i.fundingInterval * 60 if kind == "perpetual" and i.fundingInterval else None,
    )


says = coded("retCode", "retMsg", fine=("0",), busy=("10006", "10009", "10018"))  # a pace, a ban, a limit by address


def trouble(status: int, headers: Mapping[str, str], body: bytes) -> Trouble | None:
    """A lockout may come in JSON or in plain words; the same status refuses whole countries, in others.

    When a limit by code ends stands in a header, in milliseconds.
    https://bybit-exchange.github.io/docs/v5/rate-limit
    """
    if status == TOO_FREQUENT and b"too frequent" in body:
        return Trouble(f"HTTP {status}: {body[:200].decode(errors='replace')}", is_busy=True, wait=LOCKED_S)
    said, reset = says(status, headers, body), headers.get("x-bapi-limit-reset-timestamp", "")
    if said is None or not said.is_busy or not reset.isdecimal():
        return said
    return Trouble(said.words, is_busy=True, until=ms(reset))


def next_page(request: Request, body: bytes) -> Iterable[Request]:
    """The page after this one, where the answer names it."""
    cursor = decode_page(body).result.nextPageCursor
    if cursor:
        yield Request(f"{request.url.partition('&cursor=')[0]}&cursor={quote(unquote(cursor), safe='')}")


def listing(rest: str, categories: Collection[str]) -> Listing:
    """The requests for the instruments of these categories, in the order of `QUERIES`."""
    queries = [query for category, asked in QUERIES.items() if category in categories for query in asked]
    url = f"{rest}/v5/market/instruments-info?limit=1000&category="
    return Listing(tuple(Request(url + query) for query in queries), rows, read_instrument, more=next_page)
