"""The list of products of Phemex: spot and the older contracts in one table, the newer ones in another.

https://phemex-docs.github.io/#query-product-information
https://phemex-docs.github.io/#query-real-funding-rates
No frame says how its integers are scaled, so a product of another scale than all have is not taken. When funding is
exchanged next no frame says either: it is in the answer that the second page is of.
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder, encode

from aggregator.errors import BadFrame
from aggregator.exchange import Details, Listing, Request
from aggregator.records import HOUR_S, Instrument, MarketState
from aggregator.wire import Text, ms, number, optional
from connectors.phemex.wires import CONTRACT_PLACES, SPOT_PLACES

STATES: dict[str, MarketState] = {"Listed": "trading", "Delisted": "delisted", "Suspended": "halt"}
HOURS = range(1, 25)  # the intervals that are believed; another number would be in another unit
ON_PAGE = 200  # contracts; where it is not said, only twenty
OLDER, NEWER = "Perpetual", ("PerpetualV2", "PerpetualPilot")


class Currency(Struct):
    currency: str
    valueScale: int


class Products(Struct):
    products: list[Raw]
    perpProductsV2: list[Raw] = []
    currencies: list[Currency] = []


class Answer(Struct):
    data: Products


class Product(Struct):
    """A product. The figures of a spot pair are written with their asset: `0.000001 BTC`."""

    symbol: str
    type: str
    quoteCurrency: str
    status: str = ""
    priceScale: int | None = None
    baseCurrency: str = ""
    contractUnderlyingAssets: str = ""  # the quote asset, where a contract is counted in it
    settleCurrency: str = ""
    contractSize: Text = None
    tickSize: Text = None
    lotSize: Text = None
    qtyStepSize: Text = None
    maxOrderQty: Text = None
    maxOrderQtyRq: Text = None
    minOrderValueRv: Text = None
    baseTickSize: str = ""
    quoteTickSize: str = ""
    minOrderValue: str = ""
    maxBaseOrderSize: str = ""
    fundingInterval: int | None = None  # hours
    listTime: Text = None


class Page(Struct):
    total: int
    rows: list[Raw]


class Rates(Struct):
    data: Page


class RateWire(Struct):
    symbol: str
    fundingInterval: int  # seconds: 14400 and 28800 were seen in 2026-09
    nextfundingTime: int  # ms


decode_answer = Decoder(Answer).decode
decode_rates = Decoder(Rates).decode
decode_rate = Decoder(RateWire).decode
decode_row = Decoder(tuple[Product, dict[str, int]], float_hook=number).decode


def rows(body: bytes) -> Iterable[Raw]:
    """Products, each with the assets whose amounts are scaled otherwise than those of spot must be."""
    data = decode_answer(body).data
    odd = {c.currency: c.valueScale for c in data.currencies if c.valueScale != SPOT_PLACES}
    return [Raw(encode((product, odd))) for product in (*data.products, *data.perpProductsV2)]


def read_product(row: Raw) -> Instrument | None:
    p, odd = decode_row(row)
    if p.type == "Spot":
        return pair(p, odd)
    if p.type == OLDER and p.priceScale != CONTRACT_PLACES:
        raise BadFrame(f"prices of {p.symbol} are scaled by {p.priceScale} places, not {CONTRACT_PLACES}")
    return contract(p) if p.type == OLDER or p.type in NEWER else None


def pair(p: Product, odd: dict[str, int]) -> Instrument:
    if p.priceScale not in {None, SPOT_PLACES} or not {p.baseCurrency, p.quoteCurrency}.isdisjoint(odd):
        raise BadFrame(f"{p.symbol} is not scaled by {SPOT_PLACES} places")
    return Instrument(
        raw_symbol=p.symbol,
        base=p.baseCurrency,
        quote=p.quoteCurrency,
        tick_size=amount(p.quoteTickSize),
        lot_size=amount(p.baseTickSize),
        min_size=amount(p.baseTickSize),
        max_size=amount(p.maxBaseOrderSize),
        min_notional=amount(p.minOrderValue),
        state=STATES.get(p.status, "unknown"),
        ts_listed=listed(p),
    )


def contract(p: Product) -> Instrument:
    base = (p.baseCurrency or p.contractUnderlyingAssets).replace(" ", "")  # `1000 SHIB`
    is_linear = p.settleCurrency == p.quoteCurrency
    size = amount(p.contractSize) if isinstance(p.contractSize, str) else optional(p.contractSize)
    return Instrument(
        raw_symbol=p.symbol,
        kind="perpetual",
        base=p.settleCurrency if base == p.quoteCurrency and not is_linear else base,
        quote=p.quoteCurrency,
        settle=p.settleCurrency,
        linear=is_linear,
        contract_size=size if p.type == OLDER else "1",  # sizes of the newer ones are in the base asset
        tick_size=optional(p.tickSize),
        lot_size=optional(p.lotSize if p.qtyStepSize is None else p.qtyStepSize),
        max_size=optional(p.maxOrderQty if p.maxOrderQtyRq is None else p.maxOrderQtyRq),
        min_notional=optional(p.minOrderValueRv),
        funding_interval_s=p.fundingInterval * HOUR_S if p.fundingInterval and p.fundingInterval in HOURS else None,
        state=STATES.get(p.status, "unknown"),
        ts_listed=listed(p),
    )


def amount(words: str) -> str | None:
    """The number of `1,000 BTC`."""
    return optional(words.partition(" ")[0].replace(",", ""))


def listed(p: Product) -> int | None:
    return ms(p.listTime) if p.listTime not in {None, "", 0, "0"} else None


def read_rate(row: Raw) -> Instrument:
    rate = decode_rate(row)
    interval = rate.fundingInterval or None
    return Instrument(
        raw_symbol=rate.symbol,
        kind="perpetual",
        funding_interval_s=interval,
        funding_offset_s=None if interval is None else rate.nextfundingTime // 1000 % interval,
    )


def next_page(request: Request, body: bytes) -> Iterable[Request]:
    """The number of a page is the last thing that its request says."""
    address, _, number = request.url.rpartition("=")
    if int(number) * ON_PAGE < decode_rates(body).data.total:
        yield Request(f"{address}={int(number) + 1}")


def listing(api: str) -> Listing:
    rates = Request(f"{api}/contract-biz/public/real-funding-rates?pageSize={ON_PAGE}&pageNum=1")
    return Listing(
        (Request(f"{api}/public/products"),),
        rows,
        read_product,
        details=(Details(rates, lambda body: decode_rates(body).data.rows, read_rate, next_page),),
    )
