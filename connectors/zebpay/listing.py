"""ZebPay's markets: perpetuals and pairs in one shape, and how often funding is exchanged.

https://github.com/zebpay/zebpay-api-references/blob/main/futures/api-reference/public-endpoints/market.md
https://github.com/zebpay/zebpay-api-references/blob/main/spot/api-reference/public-endpoints.md
A perpetual settles in what it is quoted in, as ccxt has it.
"""

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Details, Request
from aggregator.records import HOUR_S, Instrument, MarketState
from aggregator.wire import Text, as_written, at, optional, step
from connectors.zebpay.rest import FUTURES

STATES: dict[str, MarketState] = {"Open": "trading", "Closed": "halt"}


class MarketWire(Struct):
    symbol: str
    baseAsset: str
    quoteAsset: str
    status: str
    tickSz: Text = None
    lotSz: Text = None
    pricePrecision: Text = None
    quantityPrecision: Text = None


class CycleWire(Struct):
    pair: str
    fundingFeeInterval: int | None = None  # hours


decode_market = Decoder(MarketWire, float_hook=as_written).decode
decode_cycle = Decoder(CycleWire).decode


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    is_pair = "-" in m.symbol
    return Instrument(
        raw_symbol=m.symbol,
        kind="spot" if is_pair else "perpetual",
        base=m.baseAsset,
        quote=m.quoteAsset,
        settle=None if is_pair else m.quoteAsset,
        linear=None if is_pair else True,
        contract_size=None if is_pair else "1",  # sizes are of the base asset
        tick_size=optional(m.tickSz) or step(m.pricePrecision),
        lot_size=optional(m.lotSz) or step(m.quantityPrecision),
        state=STATES.get(m.status, "unknown"),
    )


def read_cycle(row: Raw) -> Instrument:
    wire = decode_cycle(row)
    hours = wire.fundingFeeInterval
    return Instrument(raw_symbol=wire.pair, kind="perpetual", funding_interval_s=hours * HOUR_S if hours else None)


CYCLES = Details(Request(f"{FUTURES}/exchange/exchangeInfo"), at("data", "pairs"), read_cycle)
