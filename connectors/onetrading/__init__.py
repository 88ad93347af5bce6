"""One Trading: spot, and futures of five years that exchange funding.

https://docs.onetrading.com/
A request has one channel. What a whole book says of its number is not so, while its levels are right: the first change
behind it is taken as it comes (2026-09, live probes by others).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Event, Exchange, Limits, Listing, Request, Snapshot, Stream, Subscription
from aggregator.records import Channel, Instrument, Kind, MarketState
from aggregator.refusals import coded
from aggregator.sequence import contiguous
from aggregator.wire import Text, by_word, encode, from_iso, optional, step, symbols_by
from connectors.onetrading.wires import (
    UNITS,
    AnswerWire,
    BestWire,
    CandleWire,
    ChangesWire,
    FiguresWire,
    HistoryWire,
    Other,
    TradeRow,
    WholeBook,
)

API = "https://api.onetrading.com/fast/v1"
CHANNELS: dict[Channel, str] = {
    "trades": "PRICE_TICKS",
    "book": "ORDER_BOOK",
    "bbo": "BOOK_TICKER",
    "ticker": "MARKET_TICKER",
    "mark_price": "MARKET_TICKER",
    "funding": "MARKET_TICKER",
    "open_interest": "MARKET_TICKER",
    "candles": "CANDLESTICKS",
}
KINDS: dict[str, Kind] = {"SPOT": "spot", "PERP": "perpetual", "DATED_FUTURE": "future", "EQUITY_FUTURE": "future"}
STATES: dict[str, MarketState] = {
    "ACTIVE": "trading",
    "POST_ONLY": "post_only",
    "SUSPENDED": "halt",
    "CLOSED": "delisted",
}
WORDS = {unit: word for word, unit in UNITS.items()}


class Told(Protocol):
    def events(self) -> Iterable[Event]: ...


def reader(kind: type[Told]) -> Callable[[bytes], Iterable[Event]]:
    decode = Decoder(kind).decode
    return lambda frame: tuple(decode(frame).events())


READERS = {
    "PRICE_TICK": reader(TradeRow),
    "PRICE_TICK_HISTORY": reader(HistoryWire),
    "ORDER_BOOK_SNAPSHOT": reader(WholeBook),
    "ORDER_BOOK_UPDATE": reader(ChangesWire),
    "BOOK_TICKER_SNAPSHOT": reader(BestWire),
    "BOOK_TICK": reader(BestWire),
    "MARKET_TICKER_UPDATES": reader(FiguresWire),
    "CANDLESTICK_SNAPSHOT": reader(CandleWire),
    "CANDLESTICK": reader(CandleWire),
    "SUBSCRIPTIONS": reader(AnswerWire),
}
decode_other = Decoder(Other).decode


def parse_other(frame: bytes) -> Iterable[Event]:
    other = decode_other(frame)
    if other.error is not None:
        return other.refusals()
    read = READERS.get(other.type)
    return () if read is None else read(frame)


parse = by_word(b'"type":"', READERS, parse_other)


def topic(s: Subscription) -> tuple[str, str, str]:
    return CHANNELS[s.channel], s.interval if s.channel == "candles" else "", s.raw_symbol


def subscribe(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
    for (word, interval), codes in symbols_by(lambda s: topic(s)[:2], wanted).items():
        channel: dict[str, object] = {"name": word, "instrument_codes": codes}
        if interval:
            unit = {"unit": WORDS.get(interval[-1:], interval[-1:]), "period": int(interval[:-1])}
            properties = [{"instrument_code": code, "time_granularity": unit} for code in codes]
            channel = {"name": word, "properties": properties}
        elif word == "MARKET_TICKER":
            channel["price_points_mode"] = "INLINE"
        yield encode({"type": "SUBSCRIBE", "channels": [channel]})


def ask_book(raw_symbol: str, id: int) -> bytes:
    """Subscribing again brings a whole book anew, and leaves the others as they are."""
    return b"".join(subscribe([Subscription("book", raw_symbol)], id))


class Asset(Struct):
    code: str


class Schedule(Struct):
    period_minutes: int | None = None


class InstrumentWire(Struct):
    id: str
    type: str
    base: Asset
    quote: Asset
    state: str = ""
    amount_precision: Text = None
    market_precision: Text = None
    min_size: Text = None  # it counts the quote asset
    contract_expiry_date: str | None = None
    funding_schedule: Schedule | None = None


decode_rows = Decoder(list[Raw]).decode
decode_instrument = Decoder(InstrumentWire).decode


def read_instrument(row: Raw) -> Instrument | None:
    i = decode_instrument(row)
    kind = KINDS.get(i.type)
    if kind is None:
        return None
    is_spot, minutes = kind == "spot", i.funding_schedule and i.funding_schedule.period_minutes
    return Instrument(
        raw_symbol=i.id,
        kind=kind,
        base=i.base.code,
        quote=i.quote.code,
        settle=None if is_spot else i.quote.code,
        linear=None if is_spot else True,
        contract_size=None if is_spot else "1",
        tick_size=step(i.market_precision),
        lot_size=step(i.amount_precision),
        min_notional=optional(i.min_size),
        expiry=from_iso(f"{i.contract_expiry_date}T00:00Z") if kind == "future" and i.contract_expiry_date else None,
        state=STATES.get(i.state, "unknown"),
        funding_interval_s=60 * minutes if minutes else None,
    )


EXCHANGE = Exchange(
    id="onetrading",
    docs="https://docs.onetrading.com/",
    trouble=coded("error", "error_message"),
    checked="2026-09, live probes by others; of candles and tickers ccxt 4.5.90 as well",
    notes=(
        "Its books have sixteen levels a side.",
        "The funding rate is an estimate of what is exchanged next, made anew each minute; so is the mark price.",
        "It publishes no index.",
        "Trades have ids without an order, so that missed ones cannot be asked for by number.",
        "Candles are told while they run; of those of a month only the end is told, so they are left out.",
    ),
    limits=Limits(weights={API: ((240, 60),)}),
    listing=Listing((Request(f"{API}/instruments"),), decode_rows, read_instrument),
    feeds=(
        Stream(
            url="wss://streams.fast.onetrading.com",
            channels=CHANNELS,
            topic=topic,
            subscribe=subscribe,
            parse=parse,
            snapshot=Snapshot(ask=ask_book, in_band=True),
            sequence={"book": contiguous},
            patience=30,  # it beats each ten seconds
        ),
    ),
)
