"""WEEX's answers by REST: its markets, the funding of all perpetuals, and the open interest of one.

https://www.weex.com/api-doc/contract/Market_API/GetContractInfo
https://www.weex.com/api-doc/contract/Market_API/GetCurrentFundingRate
The forecast rate is the one that is exchanged next, as probes of 2026-09 saw; ccxt has the two the other way round.
No documentation says of what open interest is. It has the decimals of a contract's size step (140229.2102 of BTC, whose
step is 0.0001; 1772356.352 of ETH, whose step is 0.001), where a number of contracts of that size would be whole.
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Listing, Poll, Request
from aggregator.records import MS_NS, Funding, Instrument, MarketState, OpenInterest, Record
from aggregator.wire import Text, at, number, optional, step

SPOT, CONTRACTS = "https://api-spot.weex.com", "https://api-contract.weex.com"
STATES: dict[str, MarketState] = {"TRADING": "trading", "HALT": "halt", "BREAK": "halt"}


class MarketWire(Struct):
    symbol: str
    baseAsset: str
    quoteAsset: str
    status: str = ""  # spot alone, as the next five
    enableTrade: bool = True
    tickSize: Text = None
    stepSize: Text = None
    minTradeAmount: Text = None
    maxTradeAmount: Text = None
    marginAsset: str = ""  # perpetuals alone, as what follows
    forwardContractFlag: bool = True
    pricePrecision: Text = None
    quantityPrecision: Text = None
    minOrderSize: Text = None
    maxOrderSize: Text = None


class RateWire(Struct):
    symbol: str
    time: int
    forecastFundingRate: Text = None
    lastFundingRate: Text = None
    nextFundingTime: int | None = None
    collectCycle: int | None = None  # minutes


class OpenWire(Struct):
    symbol: str
    openInterest: Text  # in the base asset
    time: int


decode_market = Decoder(MarketWire, strict=False, float_hook=number).decode
decode_rates = Decoder(list[RateWire], strict=False, float_hook=number).decode
decode_open = Decoder(OpenWire, strict=False, float_hook=number).decode


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    if m.marginAsset:
        return Instrument(
            raw_symbol=m.symbol,
            kind="perpetual",
            base=m.baseAsset,
            quote=m.quoteAsset,
            settle=m.marginAsset,
            linear=m.forwardContractFlag,
            contract_size="1",  # sizes are of the base asset, whatever `contractVal` says
            tick_size=step(m.pricePrecision),
            lot_size=step(m.quantityPrecision),
            min_size=optional(m.minOrderSize),
            max_size=optional(m.maxOrderSize),
        )
    state = STATES.get(m.status, "unknown")
    return Instrument(
        raw_symbol=m.symbol,
        base=m.baseAsset,
        quote=m.quoteAsset,
        tick_size=optional(m.tickSize),
        lot_size=optional(m.stepSize),
        min_size=optional(m.minTradeAmount),
        max_size=optional(m.maxTradeAmount),
        state=state if m.enableTrade or state != "trading" else "halt",
    )


def read_rates(_: str, body: bytes) -> Iterable[Record]:
    """Some contracts name a time of 1970: one that is past says nothing."""
    for r in decode_rates(body):
        sent, interval = r.time * MS_NS, r.collectCycle * 60 if r.collectCycle else None
        if (last := optional(r.lastFundingRate)) is not None:
            yield Funding(raw_symbol=r.symbol, rate=last, kind="settled", ts_sent=sent)
        if (due := optional(r.forecastFundingRate)) is not None:
            then = r.nextFundingTime * MS_NS if r.nextFundingTime and r.nextFundingTime > r.time else None
            yield Funding(
                raw_symbol=r.symbol, rate=due, kind="predicted", interval_s=interval, ts_next=then, ts_sent=sent
            )


def read_open(_: str, body: bytes) -> Iterable[Record]:
    o = decode_open(body)
    if (size := optional(o.openInterest)) is not None:
        yield OpenInterest(raw_symbol=o.symbol, size=size, ts_sent=o.time * MS_NS)


LISTING = Listing(
    (Request(f"{SPOT}/api/v3/exchangeInfo"), Request(f"{CONTRACTS}/capi/v3/market/exchangeInfo")),
    at("symbols"),
    read_market,
)
FUNDING = Poll(
    name="funding",
    channels=("funding",),
    every=60,
    request=lambda _: Request(f"{CONTRACTS}/capi/v3/market/premiumIndex"),
    parse=read_rates,
    many=True,
    serves=lambda i: i.kind == "perpetual",
)
OPEN_INTEREST = Poll(
    name="open_interest",
    channels=("open_interest",),
    every=60,
    request=lambda raw_symbol: Request(f"{CONTRACTS}/capi/v3/market/openInterest?symbol={raw_symbol}"),
    parse=read_open,
    serves=lambda i: i.kind == "perpetual",
)
