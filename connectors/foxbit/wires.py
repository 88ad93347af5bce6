"""The messages of the stream."""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.exchange import Accepted, Event, Refused
from aggregator.records import DAY_S, BookDelta, BookSnapshot, Side, Ticker, Trade
from aggregator.refusals import meaning_of
from aggregator.wire import Text, bbo, levels, ms, nonzero, optional, text

DEPTH = 300  # levels a side of a whole book; those beyond come as they change
SIDES: dict[str, Side] = {"BUY": "buy", "SELL": "sell"}
NO_MARKET = "Invalid market"
FINAL = (NO_MARKET, "Invalid channel", "Invalid interval")
PASSING = ("MAX_SUBSCRIPTIONS", "Too many")


class Params(Struct):
    channel: str
    market_symbol: str = ""

    @property
    def topic(self) -> str:
        return f"{self.channel}:{self.market_symbol}"


class Done(Struct, tag_field="event", tag="success"):
    params: Params
    type: str

    def events(self) -> Iterable[Event]:
        return (Accepted(topic=self.params.topic),) if self.type == "subscribe" else ()


class Failed(Struct, tag_field="event", tag="error"):
    """A topic is refused: the exchange then closes the connection, whatever else it carries."""

    type: str = ""
    params: Params | None = None
    message: str = ""
    error: dict[str, str] = {}  # a limit is told by its code and details

    def events(self) -> Iterable[Event]:
        if self.type == "unsubscribe":
            return ()
        words = self.message or ": ".join(self.error.values())
        if self.params is None:  # it may be of any frame of a request: what it seems to mean is asked for again
            return (Refused(words, meaning=meaning_of(words, passing=PASSING)),)
        meaning = meaning_of(words, final=FINAL, passing=PASSING)
        if words.startswith(NO_MARKET):  # then no channel has it, and each would cost a connection
            return (Refused(words, raw_symbol=self.params.market_symbol, meaning=meaning),)
        return (Refused(words, topic=self.params.topic, meaning=meaning),)


class Whole(Struct, gc=False):
    sequence_id: int
    bids: list[list[Text]]
    asks: list[list[Text]]


class WholeBook(Struct, tag_field="event", tag="snapshot"):
    params: Params
    data: Whole  # without a time

    def events(self) -> Iterable[Event]:
        whole = BookSnapshot(
            raw_symbol=self.params.market_symbol,
            bids=levels(self.data.bids),
            asks=levels(self.data.asks),
            depth=DEPTH,
            sequence=self.data.sequence_id,
        )
        return (whole,)


class Changed(Struct, gc=False):
    ts: int
    first_sequence_id: int
    last_sequence_id: int
    bids: list[list[Text]]  # in no order
    asks: list[list[Text]]


class Changes(Struct, tag_field="event", tag="update"):
    params: Params
    data: Changed

    def events(self) -> Iterable[Event]:
        d = self.data
        delta = BookDelta(
            raw_symbol=self.params.market_symbol,
            bids=levels(d.bids),
            asks=levels(d.asks),
            sequence=d.last_sequence_id,
            sequence_first=d.first_sequence_id,
            ts_event=ms(d.ts),
        )
        return (delta,)


class TradeRow(Struct, gc=False):
    id: int
    price: str
    quantity: str
    taker_side: str
    ts: int


def number_of(row: TradeRow) -> int:
    return row.id


class Trades(Struct, tag_field="event", tag="update"):
    """Trades, of which nothing says in which order they stand."""

    params: Params
    data: list[TradeRow]

    def events(self) -> Iterable[Event]:
        return [
            trade(self.params.market_symbol, row.id, row.price, row.quantity, row.taker_side, ms(row.ts))
            for row in sorted(self.data, key=number_of)
        ]


def trade(raw_symbol: str, id: int, price: str, size: str, side: str, at: int) -> Trade:
    return Trade(
        raw_symbol=raw_symbol,
        id=str(id),
        price=text(price),
        size=text(size),
        side=SIDES[side],
        sequence=id,
        ts_event=at,
    )


class Best(Struct, gc=False):
    """The best prices, without sizes."""

    ask: str | None = None
    bid: str | None = None


class LastTrade(Struct, gc=False):
    price: str | None = None


class Rolling(Struct, gc=False):
    price_change: str | None = None
    volume: str | None = None
    trades_count: str | None = None
    open: str | None = None
    high: str | None = None
    low: str | None = None


class Figures(Struct, gc=False):
    ts: int
    best: Best
    last_traded: LastTrade
    rolling_24h: Rolling


class TickerWire(Struct, tag_field="event", tag="update"):
    """The figures of a market that has never been traded are zeros, its change too (ccxt 4.5.90)."""

    params: Params
    data: Figures

    def events(self) -> Iterable[Event]:
        d, name, at = self.data, self.params.market_symbol, ms(self.data.ts)
        day = d.rolling_24h
        count, last = optional(day.trades_count), nonzero(d.last_traded.price)
        statistics = Ticker(
            raw_symbol=name,
            last=last,
            open=nonzero(day.open),
            high=nonzero(day.high),
            low=nonzero(day.low),
            base_volume=optional(day.volume),
            change=last and optional(day.price_change),
            trades=None if count is None else int(count),
            window_s=DAY_S,
            ts_event=at,
        )
        return statistics, bbo(name, d.best.bid, None, d.best.ask, None, ts_event=at)
