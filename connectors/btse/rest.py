"""BTSE's answers by REST: its markets, statistics, prices and candles.

https://docs.btse.com/markets/rest/get-markets
https://docs.btse.com/markets/rest/get-24-hr-ticker
https://docs.btse.com/markets/rest/get-klines
"""

import re
from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import (
    MS_NS,
    SECOND_NS,
    Candle,
    Funding,
    IndexPrice,
    Instrument,
    Kind,
    MarkPrice,
    OpenInterest,
    Record,
    Ticker,
)
from aggregator.wire import Text, as_written, candle, ms, nonzero, optional, seconds, text

API = "https://api.btse.com"
MARKETS = f"{API}/public-api/market/v1"
KINDS: dict[str, Kind] = {"Spot": "spot", "FuturesPerpetual": "perpetual", "FuturesTimeBased": "future"}
CONTRACT = re.compile(r"[^-]+-(PERP|[0-9]{6})", re.ASCII)
MOST = 300  # candles of an answer
MINUTES = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "6h": 360, "1d": 1440}
QUOTE = "USDT"  # every contract is quoted in it


class MarketWire(Struct):
    symbol: str
    type: str
    tradeCurrency: str  # the name of a contract on the sockets
    baseCurrency: str
    quoteCurrency: str
    active: bool
    minPriceIncrement: Text = None
    minSizeIncrement: Text = None
    minOrderSize: Text = None
    maxOrderSize: Text = None
    contractSize: Text = None
    contractStartTime: int | None = None  # dated contracts alone, as the next
    contractEndTime: int | None = None


class DayRow(Struct):
    """Statistics of a market; what begins with the open interest is of contracts alone."""

    symbol: str
    lastPrice: Text = None
    openPrice: Text = None
    highPrice: Text = None
    lowPrice: Text = None
    amount: Text = None  # base units on spot, else contracts
    volume: Text = None  # in the quote currency
    openTime: int | None = None
    closeTime: int | None = None
    priceChange: Text = None
    openInterest: Text = None  # contracts
    fundingRate: Text = None  # the one that is exchanged next
    nextFundingTime: int | None = None  # 0 of dated contracts, which have none
    fundingIntervalMinutes: int | None = None

    def records(self, sent: int) -> Iterable[Record]:
        is_contract = self.openInterest is not None
        name = self.symbol.rpartition("-")[0] if is_contract else self.symbol
        amount = optional(self.amount)
        yield Ticker(
            raw_symbol=name,
            last=nonzero(self.lastPrice),
            open=nonzero(self.openPrice),
            high=nonzero(self.highPrice),
            low=nonzero(self.lowPrice),
            base_volume=None if is_contract else amount,
            quote_volume=optional(self.volume),
            contract_volume=amount if is_contract else None,
            change=optional(self.priceChange),
            window_s=self.closeTime - self.openTime if self.closeTime and self.openTime else None,
            ts_sent=sent,
        )
        if is_contract:
            yield OpenInterest(raw_symbol=name, size=text(self.openInterest), size_unit="contract", ts_sent=sent)
        if self.nextFundingTime and (rate := optional(self.fundingRate)) is not None:
            yield Funding(
                raw_symbol=name,
                rate=rate,
                interval_s=self.fundingIntervalMinutes * 60 if self.fundingIntervalMinutes else None,
                ts_next=self.nextFundingTime * MS_NS,
                ts_sent=sent,
            )


class Days(Struct):
    time: int
    data: list[DayRow]


class PriceRow(Struct):
    symbol: str
    indexPrice: Text = None
    markPrice: Text = None


class Candles(Struct):
    data: list[tuple[Text, Text, Text, Text, Text, Text]]  # a time in seconds, four prices, and the volume


decode_market = Decoder(MarketWire, float_hook=as_written).decode
decode_days = Decoder(Days, float_hook=as_written).decode
decode_prices = Decoder(list[PriceRow], float_hook=as_written).decode
decode_candles = Decoder(Candles, float_hook=as_written).decode


def read_market(row: Raw) -> Instrument | None:
    m = decode_market(row)
    kind = KINDS.get(m.type)
    if kind is None:
        return None
    is_spot = kind == "spot"
    return Instrument(
        raw_symbol=m.symbol if is_spot else m.tradeCurrency,
        kind=kind,
        base=m.baseCurrency,
        quote=m.quoteCurrency,
        settle=None if is_spot else m.quoteCurrency,
        linear=None if is_spot else True,
        contract_size=None if is_spot else optional(m.contractSize),
        tick_size=optional(m.minPriceIncrement),
        lot_size=optional(m.minSizeIncrement),
        min_size=optional(m.minOrderSize),
        max_size=optional(m.maxOrderSize),
        expiry=ms(m.contractEndTime) if kind == "future" and m.contractEndTime else None,
        state="trading" if m.active else "halt",
        ts_listed=ms(m.contractStartTime) if kind == "future" and m.contractStartTime else None,
    )


def read_days(_: str, body: bytes) -> Iterable[Record]:
    said = decode_days(body)
    return [record for row in said.data for record in row.records(said.time * MS_NS)]


def read_prices(_: str, body: bytes) -> Iterable[Record]:
    for row in decode_prices(body):
        if mark := nonzero(row.markPrice):
            yield MarkPrice(raw_symbol=row.symbol, price=mark)
        if index := nonzero(row.indexPrice):
            yield IndexPrice(raw_symbol=row.symbol, price=index)


def longer(raw_symbol: str) -> str:
    """The name by which a market is asked for by REST."""
    return f"{raw_symbol}-{QUOTE}" if CONTRACT.fullmatch(raw_symbol) else raw_symbol


def ask_candles(raw_symbol: str) -> Request:
    """The last minutes of a market."""
    return Request(f"{MARKETS}/klines?symbol={longer(raw_symbol)}&resolution=1&limit=5")


def bars(raw_symbol: str, interval: str, body: bytes) -> Iterable[Candle]:
    rows = sorted(decode_candles(body).data, key=lambda row: int(text(row[0])))
    return [
        candle(raw_symbol, interval, seconds(text(start)), (first, high, low, last), quote=volume)
        for start, first, high, low, last, volume in rows
    ]


def read_candles(raw_symbol: str, body: bytes) -> Iterable[Candle]:
    return bars(raw_symbol, "1m", body)


def ask_past(page: Page) -> Request:
    query = f"symbol={longer(page.raw_symbol)}&resolution={MINUTES[page.interval]}"
    between = f"start={page.start // SECOND_NS}&end={(page.end - 1) // SECOND_NS}"
    return Request(f"{MARKETS}/klines?{query}&{between}&limit={MOST}")


HISTORY = (
    PastPages(
        channel="candles",
        request=ask_past,
        parse=lambda page, body: bars(page.raw_symbol, page.interval, body),
        most=MOST,
        intervals=tuple(MINUTES),
    ),
)
