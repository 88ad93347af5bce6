"""The answers of BigONE by REST: pairs, contracts, and the statistics and best prices of pairs.

https://open.big.one/docs/spot_asset_pair.html
https://open.big.one/docs/contract_symbol.html
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.records import DAY_S, Instrument, Record, Ticker
from aggregator.wire import Text, at, bbo, nonzero, number, optional, step, text

API = "https://big.one/api/v3"


class AssetWire(Struct):
    symbol: str


class PairWire(Struct):
    name: str
    base_asset: AssetWire
    quote_asset: AssetWire
    base_scale: Text  # decimals
    quote_scale: Text
    min_quote_value: Text = None


class ContractWire(Struct):
    symbol: str
    baseCurrency: str
    quoteCurrency: str
    settleCurrency: str
    multiplier: Text
    isInverse: bool
    enable: bool
    priceStep: Text = None


class Row(Struct):
    name: str | None = None


class SideWire(Struct):
    price: Text = None
    quantity: Text = None


class TickerWire(Struct):
    asset_pair_name: str
    bid: SideWire | None = None
    ask: SideWire | None = None
    open: Text = None
    high: Text = None
    low: Text = None
    close: Text = None
    volume: Text = None
    daily_change: Text = None


class TickersAnswer(Struct):
    data: list[TickerWire]


NO_SIDE = SideWire()
decode_row = Decoder(Row).decode
decode_pair = Decoder(PairWire, float_hook=number).decode
decode_contract = Decoder(ContractWire, float_hook=number).decode
decode_contracts = Decoder(list[Raw]).decode
decode_tickers = Decoder(TickersAnswer, float_hook=number).decode
pairs = at("data")


def rows(body: bytes) -> Iterable[Raw]:
    """The rows of either list: contracts come without an envelope."""
    return decode_contracts(body) if body.lstrip()[:1] == b"[" else pairs(body)


def read(row: Raw) -> Instrument:
    return read_contract(row) if decode_row(row).name is None else read_pair(row)


def read_pair(row: Raw) -> Instrument:
    wire = decode_pair(row)
    return Instrument(
        raw_symbol=wire.name,
        base=wire.base_asset.symbol,
        quote=wire.quote_asset.symbol,
        tick_size=step(wire.quote_scale),
        lot_size=step(wire.base_scale),
        min_notional=optional(wire.min_quote_value),
    )


def read_contract(row: Raw) -> Instrument:
    wire = decode_contract(row)
    return Instrument(
        raw_symbol=wire.symbol,
        kind="perpetual",
        base=wire.baseCurrency,
        quote=wire.quoteCurrency,
        settle=wire.settleCurrency,
        linear=not wire.isInverse,
        contract_size=text(wire.multiplier),
        tick_size=optional(wire.priceStep),
        state="trading" if wire.enable else "halt",
    )


def read_tickers(_: str, body: bytes) -> Iterable[Record]:
    for said in decode_tickers(body).data:
        bid, ask = said.bid or NO_SIDE, said.ask or NO_SIDE
        yield Ticker(
            raw_symbol=said.asset_pair_name,
            last=nonzero(said.close),
            open=nonzero(said.open),
            high=nonzero(said.high),
            low=nonzero(said.low),
            base_volume=optional(said.volume),
            change=optional(said.daily_change),
            window_s=DAY_S,
        )
        yield bbo(said.asset_pair_name, bid.price, bid.quantity, ask.price, ask.quantity)
