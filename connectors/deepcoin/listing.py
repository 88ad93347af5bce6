"""Deepcoin's lists of instruments, and how often the funding of contracts is exchanged.

https://www.deepcoin.com/docs/DeepCoinMarket/getBaseInfo
https://www.deepcoin.com/docs/DeepCoinTrade/fundingRate
Nothing there says which asset a contract settles in: it is the base asset where it is quoted in US dollars.
"""

import re

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Details, Listing, Request
from aggregator.records import Instrument, MarketState
from aggregator.wire import Text, at, ms, optional, text

API = "https://api.deepcoin.com"
STATES: dict[str, MarketState] = {"live": "trading", "suspend": "halt", "preopen": "pre_open"}
SWAP = "-SWAP"
PAIR = re.compile(r"([^-]+)(USDT|USD)")


class MarketWire(Struct):
    instType: str
    instId: str
    baseCcy: str
    quoteCcy: str
    tickSz: Text
    state: str
    ctVal: Text = None
    lotSz: Text = None
    minSz: Text = None
    maxLmtSz: Text = None
    listTime: Text = None


class CycleWire(Struct):
    instrumentID: str
    settleInterval: int | None = None  # in seconds, as the next
    nextSettleTime: int | None = None


decode_market = Decoder(MarketWire).decode
decode_cycle = Decoder(CycleWire).decode


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    is_spot = m.instType == "SPOT"
    is_linear = m.quoteCcy != "USD"
    listed = text(m.listTime) if m.listTime else "0"
    return Instrument(
        raw_symbol=m.instId,
        kind="spot" if is_spot else "perpetual",
        base=m.baseCcy,
        quote=m.quoteCcy,
        settle=None if is_spot else m.quoteCcy if is_linear else m.baseCcy,
        linear=None if is_spot else is_linear,
        contract_size=None if is_spot else optional(m.ctVal),
        tick_size=text(m.tickSz),
        lot_size=optional(m.lotSz),
        min_size=optional(m.minSz),
        max_size=optional(m.maxLmtSz),
        state=STATES.get(m.state, "unknown"),
        ts_listed=None if listed == "0" else ms(listed),
    )


def wire_name(instrument: Instrument) -> str:
    """A market's name on the sockets: `BTC-USDT-SWAP` as `BTCUSDT`, `BTC-USDT` as `BTC/USDT`."""
    name = str(instrument.raw_symbol)
    return name.removesuffix(SWAP).replace("-", "", 1) if name.endswith(SWAP) else name.replace("-", "/", 1)


def book_name(instrument: Instrument) -> str:
    return f"{wire_name(instrument)}_{instrument.tick_size}"


def read_cycle(row: Raw) -> Instrument:
    """How often, by the name of the sockets (as probes saw it), or that of the list (as the documentation has it)."""
    wire = decode_cycle(row)
    pair = PAIR.fullmatch(wire.instrumentID)
    interval = wire.settleInterval or None
    return Instrument(
        raw_symbol=wire.instrumentID if pair is None else f"{pair[1]}-{pair[2]}{SWAP}",
        kind="perpetual",
        funding_interval_s=interval,
        funding_offset_s=wire.nextSettleTime % interval if wire.nextSettleTime and interval else None,
    )


LISTING = Listing(
    tuple(Request(f"{API}/deepcoin/market/instruments?instType={kind}") for kind in ("SPOT", "SWAP")),
    at("data"),
    read_market,
    details=tuple(
        Details(Request(f"{API}/deepcoin/trade/funding-rate?instType={kind}"), at("data"), read_cycle)
        for kind in ("SwapU", "Swap")
    ),
)
