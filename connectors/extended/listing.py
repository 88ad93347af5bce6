"""Reading what Extended lists, and the statistics of its markets.

https://api.docs.extended.exchange/#get-markets
Open interest is told in dollars and in the base asset.
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Listing, Poll, Request
from aggregator.records import DAY_S, HOUR_S, MS_NS, Instrument, MarketState, OpenInterest, Record, Ticker
from aggregator.wire import Text, at, nonzero, number, optional

MARKETS = Request("https://api.starknet.extended.exchange/api/v1/info/markets", headers={"User-Agent": "aggregator"})
STATES: dict[str, MarketState] = {
    "ACTIVE": "trading",
    "REDUCE_ONLY": "reduce_only",
    "PRELISTED": "pre_open",
    "DISABLED": "halt",
    "DELISTED": "delisted",
}


class TradingWire(Struct, frozen=True):
    minOrderSize: Text = None
    minOrderSizeChange: Text = None
    minPriceChange: Text = None


class StatsWire(Struct):
    dailyVolume: Text = None
    dailyVolumeBase: Text = None
    dailyPriceChange: Text = None
    dailyLow: Text = None
    dailyHigh: Text = None
    lastPrice: Text = None
    openInterest: Text = None
    openInterestBase: Text = None

    def records(self, name: str, *, is_spot: bool) -> Iterable[Record]:
        yield Ticker(
            raw_symbol=name,
            last=nonzero(self.lastPrice),
            high=nonzero(self.dailyHigh),
            low=nonzero(self.dailyLow),
            base_volume=optional(self.dailyVolumeBase),
            quote_volume=optional(self.dailyVolume),
            change=optional(self.dailyPriceChange),
            window_s=DAY_S,
        )
        if not is_spot and (size := optional(self.openInterestBase)) is not None:
            yield OpenInterest(raw_symbol=name, size=size, quote_value=optional(self.openInterest))


class MarketWire(Struct):
    name: str
    assetName: str
    collateralAssetName: str
    type: str = "PERPETUAL"
    status: str = ""
    tradingConfig: TradingWire = TradingWire()
    marketStats: StatsWire | None = None
    createdAt: int | None = None


decode_market = Decoder(MarketWire, strict=False, float_hook=number).decode
rows = at("data")


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    is_spot, steps = m.type == "SPOT", m.tradingConfig
    return Instrument(
        raw_symbol=m.name,
        kind="spot" if is_spot else "perpetual",
        base=m.assetName.removesuffix("SPOT") if is_spot else m.assetName,
        quote=m.collateralAssetName,
        settle=None if is_spot else m.collateralAssetName,
        linear=None if is_spot else True,
        contract_size=None if is_spot else "1",
        tick_size=optional(steps.minPriceChange),
        lot_size=optional(steps.minOrderSizeChange),
        min_size=optional(steps.minOrderSize),
        state=STATES.get(m.status, "unknown"),
        ts_listed=None if m.createdAt is None else m.createdAt * MS_NS,
        funding_interval_s=None if is_spot else HOUR_S,
        funding_offset_s=None if is_spot else 0,
    )


def read_statistics(_: str, body: bytes) -> Iterable[Record]:
    for row in rows(body):
        m = decode_market(row)
        if m.marketStats is not None:
            yield from m.marketStats.records(m.name, is_spot=m.type == "SPOT")


LISTING = Listing((MARKETS,), rows, read_market)
STATISTICS = Poll(
    channels=("ticker", "open_interest"), every=10, request=lambda _: MARKETS, parse=read_statistics, many=True
)
