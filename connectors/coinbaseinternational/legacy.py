"""Coinbase International in its own protocol, until it went over to Deribit's platform in the autumn of 2026.

https://docs.cdp.coinbase.com/international-exchange/websocket-feed/channels
Sizes count contracts, of which the listing says how many coins each is, and coins on spot. Messages are numbered by
channel over all of its markets, so that their numbers say nothing of one. The year 1 stands for no time.
"""

from collections.abc import Callable, Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Archive, Event, Ignored, Listing, Parse, Stream
from aggregator.records import Candle, Instrument
from aggregator.wire import by_word, end_of, from_iso, optional, past, text
from connectors.coinbaseinternational.legacy_wires import (
    STATES,
    BestWire,
    BookWire,
    FundingWire,
    IndexWire,
    MarketWire,
    RfqWire,
    RiskWire,
    TradeWire,
    volumes,
)

INTERVALS = {
    "CANDLES_ONE_MINUTE": "1m",
    "CANDLES_FIVE_MINUTE": "5m",
    "CANDLES_FIVE_MINUTES": "5m",  # ccxt 4.4 has these in the plural
    "CANDLES_THIRTY_MINUTE": "30m",
    "CANDLES_THIRTY_MINUTES": "30m",
    "CANDLES_TWO_HOUR": "2h",
    "CANDLES_TWO_HOURS": "2h",
    "CANDLES_ONE_DAY": "1d",
}


class Bar(Struct, gc=False):
    """A candle, or what has changed of the newest one: what is left out or empty has not."""

    time: str = ""  # when it begins, in a list
    start: str = ""  # the same, in an update
    open: str = ""
    high: str = ""
    low: str = ""
    close: str = ""
    volume: str = ""

    def over(self, before: "Bar") -> "Bar":
        start = self.start or self.time or before.start
        if start != before.start:
            return Bar("", start, self.open, self.high, self.low, self.close, self.volume)
        return Bar(
            "",
            start,
            self.open or before.open,
            self.high or before.high,
            self.low or before.low,
            self.close or before.close,
            self.volume or before.volume,
        )

    def candle(self, name: str, interval: str) -> Candle:
        start = from_iso(self.start)
        base, contracts = volumes(name, optional(self.volume))
        return Candle(
            raw_symbol=name,
            interval=interval,
            ts_open=start,
            ts_close=end_of(interval, start),
            open=text(self.open),
            high=text(self.high),
            low=text(self.low),
            close=text(self.close),
            base_volume=base,
            contract_volume=contracts,
        )

    def is_whole(self) -> bool:
        return bool(self.start and self.open and self.high and self.low and self.close)


class BarFrame(Bar, gc=False):
    channel: str = ""
    product_id: str = ""
    candles: list[Bar] | None = None


class Kind(Struct):
    channel: str = ""


class Subscribed(Struct):
    name: str = ""


class SubscribedWire(Struct):
    """All that is subscribed to, after a request."""

    channels: list[Subscribed] = []

    def events(self) -> Iterable[Event]:
        return [Accepted(topic=channel.name) for channel in self.channels]


def reader(kind: type) -> Parse:
    decode: Callable[[bytes], object] = Decoder(kind).decode
    return lambda frame: tuple(decode(frame).events())  # type: ignore[attr-defined]


READERS: dict[str, Parse] = {
    "MATCH": reader(TradeWire),
    "RFQ_MATCH": reader(RfqWire),
    "LEVEL1": reader(BestWire),
    "LEVEL2": reader(BookWire),
    "FUNDING": reader(FundingWire),
    "RISK": reader(RiskWire),
    "INDEX": reader(IndexWire),
    "INSTRUMENTS": reader(MarketWire),
    "SUBSCRIPTIONS": reader(SubscribedWire),
}
decode_bars = Decoder(BarFrame).decode
decode_kind = Decoder(Kind).decode


def parser() -> Parse:
    """A parser that remembers the newest candle of each market, as an update may hold only what has changed of it."""
    newest: dict[tuple[str, str], Bar] = {}

    def read_bars(frame: bytes) -> Iterable[Event]:
        said = decode_bars(frame)
        interval, topic = INTERVALS.get(said.channel, said.channel), (said.product_id, said.channel)
        if said.candles is None:
            bar = newest[topic] = said.over(newest.get(topic, Bar()))
            if not bar.is_whole():
                return (Ignored("a part of a candle that is not known"),)
            return (bar.candle(said.product_id, interval),)
        bars = sorted((bar.over(Bar()) for bar in said.candles), key=lambda bar: bar.start)
        if bars:
            newest[topic] = bars[-1]
        return past(bar.candle(said.product_id, interval) for bar in bars)

    def other(frame: bytes) -> Iterable[Event]:
        word = decode_kind(frame).channel
        if word.startswith("CANDLES_"):
            return read_bars(frame)
        read = READERS.get(word)
        return () if read is None else read(frame)

    return by_word(b'"channel":"', READERS, other)


class Row(Struct):
    symbol: str
    type: str
    base_asset_name: str
    quote_asset_name: str
    base_increment: str | None = None
    quote_increment: str | None = None
    min_quantity: str | None = None
    base_asset_multiplier: str | None = None
    trading_state: str = ""


decode_row = Decoder(Row).decode


def read_market(row: Raw) -> Instrument | None:
    m = decode_row(row)
    if m.type not in {"PERP", "SPOT"}:
        return None
    is_spot = m.type == "SPOT"
    return Instrument(
        raw_symbol=m.symbol,
        kind="spot" if is_spot else "perpetual",
        base=m.base_asset_name,
        quote=m.quote_asset_name,
        settle=None if is_spot else m.quote_asset_name,
        linear=None if is_spot else True,
        contract_size=None if is_spot else optional(m.base_asset_multiplier),
        tick_size=optional(m.quote_increment),
        lot_size=optional(m.base_increment),
        min_size=optional(m.min_quantity),
        state=STATES.get(m.trading_state.lower(), "unknown"),
    )


ARCHIVE = Archive(
    until="2026-10-01",
    listing=Listing(rows=Decoder(list[Raw]).decode, read=read_market),
    streams=(
        Stream(
            name="legacy",
            channels={
                "trades": "MATCH",
                "book": "LEVEL2",
                "bbo": "LEVEL1",
                "funding": "FUNDING",
                "mark_price": "RISK",
                "index_price": "RISK",
                "open_interest": "RISK",
                "ticker": "INSTRUMENTS",
                "status": "INSTRUMENTS",
                "candles": "CANDLES_",
            },
            parser=parser,
            depth=20,
        ),
    ),
)
