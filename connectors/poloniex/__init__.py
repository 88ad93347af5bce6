"""Poloniex: spot, and perpetual contracts (version 3 of its futures).

https://api-docs.poloniex.com
"""

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Limits, Listing, Older, Request
from aggregator.records import Instrument, MarketState
from aggregator.refusals import coded
from aggregator.wire import Text, at, either, ms, number, optional, step, text
from connectors.poloniex import future_wires, spot_wires
from connectors.poloniex.frames import stream

API = "https://api.poloniex.com"
CONTRACT_STATES: dict[str, MarketState] = {**spot_wires.STATES, "OPEN": "trading"}


class TradeLimit(Struct):
    priceScale: int
    quantityScale: int
    minQuantity: str | None = None
    minAmount: str | None = None
    maxQuantity: str | None = None


class Market(Struct):
    symbol: str
    baseCurrencyName: str
    quoteCurrencyName: str
    state: str
    symbolTradeLimit: TradeLimit
    tradableStartTime: Text = 0

    def instrument(self) -> Instrument:
        limit = self.symbolTradeLimit
        return Instrument(
            raw_symbol=self.symbol,
            base=self.baseCurrencyName,
            quote=self.quoteCurrencyName,
            tick_size=step(limit.priceScale),
            lot_size=step(limit.quantityScale),
            min_size=limit.minQuantity,
            max_size=limit.maxQuantity,
            min_notional=limit.minAmount,
            state=spot_wires.STATES.get(self.state, "unknown"),
            ts_listed=ms(text(self.tradableStartTime)) or None,
        )


class Contract(Struct):
    symbol: str
    bCcy: str
    qCcy: str
    sCcy: str
    ctType: str
    ctVal: str
    tSz: Text
    lotSz: Text
    minSz: Text
    status: str
    limitMaxQty: Text = None
    tradableStartTime: Text = 0
    alias: str | None = None  # only a dated one has it

    def instrument(self) -> Instrument:
        return Instrument(
            raw_symbol=self.symbol,
            kind="future" if self.alias else "perpetual",
            base=self.bCcy,
            quote=self.qCcy,
            settle=self.sCcy,
            linear=self.ctType == "LINEAR",
            contract_size=self.ctVal,
            tick_size=text(self.tSz),
            lot_size=text(self.lotSz),
            min_size=text(self.minSz),
            max_size=optional(self.limitMaxQty),
            state=CONTRACT_STATES.get(self.status, "unknown"),
            ts_listed=ms(text(self.tradableStartTime)) or None,
        )


rows = either(Decoder(list[Raw]).decode, at("data"))
decode_row = either(Decoder(Contract, float_hook=number).decode, Decoder(Market).decode)


def read(row: Raw) -> Instrument:
    return decode_row(row).instrument()


EXCHANGE = Exchange(
    id="poloniex",
    older=(Older(channels=("trades", "book"), until="2022-08"),),
    docs="https://api-docs.poloniex.com",
    trouble=coded("code", "msg", fine=("200",), busy=("429",)),  # futures say it by code; spot by HTTP status
    checked="2026-09, live probes of its futures by others",
    notes=(
        "Futures tell volumes in contracts and in the quote asset; the latter are given.",
        "Of liquidations one a second is sent for each market.",
    ),
    limits=Limits(weights={API: ((200, 1),)}, connections=2000),
    listing=Listing((Request(f"{API}/markets"), Request(f"{API}/v3/market/allInstruments")), rows, read),
    feeds=(
        stream(
            "spot",
            "wss://ws.poloniex.com/ws/public",
            spot_wires.CHANNELS,
            spot_wires.READERS,
            lambda i: i.kind == "spot",
        ),
        stream(
            "futures",
            "wss://ws.poloniex.com/ws/v3/public",
            future_wires.CHANNELS,
            future_wires.READERS,
            lambda i: i.kind != "spot",
        ),
    ),
)
