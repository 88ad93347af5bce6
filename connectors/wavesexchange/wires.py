"""The messages of the matcher, exchange transactions of the chain, and tickers; times are milliseconds."""

import re
from collections.abc import Iterable

from msgspec import Struct, field

from aggregator.exchange import Accepted, Event, Hangup, Meaning, Refused
from aggregator.records import DAY_S, BookDelta, BookSnapshot, Instrument, Side, Ticker, Trade
from aggregator.refusals import named_in
from aggregator.wire import Text, from_iso, levels, ms, nonzero, optional, step, text

ASSET = "(?:WAVES|[1-9A-HJ-NP-Za-km-z]{32,44})"
PAIR = re.compile(f"{ASSET}-{ASSET}")
CONNECTION = (104 << 12) + 101  # errors about a connection itself, in all of a code but its last eight bits
MEANINGS: dict[int, Meaning] = {  # by these eight bits, as the matcher's own code has them
    1: "passing",  # broken
    2: "final",  # denied
    3: "final",  # not supported: a pair the wrong way round
    4: "passing",  # in a state that nobody expects
    5: "final",  # on a black list
    7: "passing",  # a limit is reached
    9: "final",  # not found
    13: "passing",  # starting
    14: "passing",  # stopping
    16: "final",  # disabled
}


class BookWire(Struct, tag_field="T", tag="ob", gc=False):
    """The whole book where its number is 0, else the levels that have changed; an amount of zero removes one."""

    S: str
    U: int
    sent: int = field(name="_")
    b: list[list[Text]] = []
    a: list[list[Text]] = []

    def events(self) -> Iterable[Event]:
        bids, asks, sent = levels(self.b), levels(self.a), ms(self.sent)
        if self.U:
            return (BookDelta(raw_symbol=self.S, bids=bids, asks=asks, sequence=self.U, ts_sent=sent),)
        book = BookSnapshot(raw_symbol=self.S, bids=bids, asks=asks, sequence=0, ts_sent=sent)
        return Accepted(channel="book", raw_symbol=self.S), book


class PingWire(Struct, tag_field="T", tag="pp"):
    sent: int = field(name="_")


class InitialWire(Struct, tag_field="T", tag="i"):
    """The first message of a connection, with its name."""


class ErrorWire(Struct, tag_field="T", tag="e"):
    """An error names the pair at times, and is of the one request that is open else."""

    c: int
    m: str

    def event(self) -> Event:
        reason, meaning = f"{self.c}: {self.m}", MEANINGS.get(self.c & 255, "unknown")
        if self.c >> 8 == CONNECTION:
            return Hangup(reason)
        if pair := named_in(self.m, PAIR):
            return Refused(reason, channel="book", raw_symbol=pair[0], meaning=meaning)
        return Refused(reason, meaning=meaning)


class OrderWire(Struct, gc=False):
    orderType: Side
    timestamp: str


class Transaction(Struct, gc=False):
    id: str
    timestamp: str  # when the matcher made it of two orders
    price: Text
    amount: Text
    order1: OrderWire
    order2: OrderWire
    applicationStatus: str | None = None

    @property
    def is_void(self) -> bool:
        """Tell whether it failed: the chain has it all the same, but nothing was traded."""
        return self.applicationStatus not in {None, "succeeded"}

    def taker(self) -> Side | None:
        """The side of the younger order; an order of the same millisecond leaves it open."""
        first, second = from_iso(self.order1.timestamp), from_iso(self.order2.timestamp)
        if first == second:
            return None
        return self.order1.orderType if first > second else self.order2.orderType

    def record(self, raw_symbol: str) -> Trade:
        return Trade(
            raw_symbol=raw_symbol,
            id=self.id,
            price=text(self.price),
            size=text(self.amount),
            side=self.taker(),
            ts_event=from_iso(self.timestamp),
        )


class TransactionRow(Struct, gc=False):
    data: Transaction


class Transactions(Struct):
    data: list[TransactionRow]  # newest first


class TickerWire(Struct):
    symbol: str  # `WAVES/BTC`: names that the exchange gives, where a pair is named by the ids of its assets
    amountAssetID: str
    priceAssetID: str
    amountAssetDecimals: int | None = None
    open: Text = field(name="24h_open", default=None)
    high: Text = field(name="24h_high", default=None)
    low: Text = field(name="24h_low", default=None)
    close: Text = field(name="24h_close", default=None)
    vwap: Text = field(name="24h_vwap", default=None)
    volume: Text = field(name="24h_volume", default=None)
    price_volume: Text = field(name="24h_priceVolume", default=None)
    timestamp: int | None = None

    @property
    def pair(self) -> str:
        return f"{self.amountAssetID}-{self.priceAssetID}"

    def record(self) -> Ticker:
        return Ticker(
            raw_symbol=self.pair,
            last=nonzero(self.close),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            vwap=nonzero(self.vwap),
            base_volume=optional(self.volume),
            quote_volume=optional(self.price_volume),
            window_s=DAY_S,
            ts_sent=None if self.timestamp is None else ms(self.timestamp),
        )

    def instrument(self) -> Instrument:
        base, _, quote = self.symbol.partition("/")
        return Instrument(raw_symbol=self.pair, base=base, quote=quote, lot_size=step(self.amountAssetDecimals))
