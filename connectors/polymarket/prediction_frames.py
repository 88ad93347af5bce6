"""Frames of Polymarket's prediction markets, as captures hold them: another product, which nobody subscribes to here.

https://docs.polymarket.com/market-data/websocket/market-channel
A market has a token for each outcome, and a book for each token: its id is the raw symbol. A price is between 0 and 1
of a dollar, a size counts shares. A trade has no number: the hash of its transaction is not taken for one.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

from msgspec import Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Event
from aggregator.records import BookDelta, BookSnapshot, Level, Levels, Record, Side, Trade
from aggregator.wire import Text, bbo, ms, number, sides, text

NOTHING = {b"[]", b"PONG"}  # no token of the request has a book; an answer to a ping
SIDES: dict[str, Side] = {"BUY": "buy", "SELL": "sell"}


class LevelRow(Struct, gc=False):
    price: Text
    size: Text


class BookWire(Struct, tag_field="event_type", tag="book", gc=False):
    asset_id: str
    timestamp: str  # milliseconds, as everywhere
    bids: list[LevelRow] = []  # the best stands last
    asks: list[LevelRow] = []

    def records(self) -> Iterable[Record]:
        yield BookSnapshot(
            raw_symbol=self.asset_id,
            bids=sorted(named(self.bids), key=price, reverse=True),
            asks=sorted(named(self.asks), key=price),
            reason="periodic",
            ts_event=ms(self.timestamp),
        )


class ChangeRow(Struct, gc=False):
    price: Text
    size: Text  # now at that price
    side: Literal["BUY", "SELL"]
    asset_id: str = ""  # before September 2025 the frame had it


class ChangesWire(Struct, tag_field="event_type", tag="price_change", gc=False):
    timestamp: str
    asset_id: str = ""
    price_changes: list[ChangeRow] = []
    changes: list[ChangeRow] = []  # the name before September 2025

    def records(self) -> Iterable[Record]:
        """A change of each token that the frame names: those of a market's outcomes come together."""
        by_token: dict[str, list[tuple[str, str, str]]] = {}
        for row in self.price_changes or self.changes:
            by_token.setdefault(row.asset_id or self.asset_id, []).append((row.side, row.price, row.size))
        for token, rows in by_token.items():
            bids, asks = sides(rows, "BUY")
            yield BookDelta(raw_symbol=token, bids=bids, asks=asks, ts_event=ms(self.timestamp))


class TradeWire(Struct, tag_field="event_type", tag="last_trade_price", gc=False):
    asset_id: str
    timestamp: str
    price: Text
    size: Text
    side: Literal["BUY", "SELL"]  # the taker's

    def records(self) -> Iterable[Record]:
        yield Trade(
            raw_symbol=self.asset_id,
            price=text(self.price),
            size=text(self.size),
            side=SIDES[self.side],
            ts_event=ms(self.timestamp),
        )


class BestWire(Struct, tag_field="event_type", tag="best_bid_ask", gc=False):
    asset_id: str
    timestamp: str
    best_bid: Text = None
    best_ask: Text = None

    def records(self) -> Iterable[Record]:
        yield bbo(self.asset_id, self.best_bid, None, self.best_ask, None, ts_event=ms(self.timestamp))


class Kind(Struct):
    event_type: str = ""


Wire = BookWire | ChangesWire | TradeWire | BestWire
READ = {"book", "price_change", "last_trade_price", "best_bid_ask"}
decode = Decoder(Wire | list[Wire], float_hook=number).decode
decode_kinds = Decoder(Kind | list[Kind]).decode


def price(level: Level) -> Decimal:
    return Decimal(level[0])


def named(rows: list[LevelRow]) -> Levels:
    return [(text(row.price), text(row.size)) for row in rows]


def parse(frame: bytes) -> Iterable[Event]:
    """The records of an event, or of several; one of another kind (a new market, another tick) gives none."""
    if frame in NOTHING:
        return ()
    try:
        said = decode(frame)
    except ValidationError as error:
        kinds = decode_kinds(frame)
        if READ.isdisjoint(kind.event_type for kind in (kinds if isinstance(kinds, list) else [kinds])):
            return ()
        raise BadFrame(f"an event of a prediction market that cannot be read: {error}") from None
    return [record for event in (said if isinstance(said, list) else [said]) for record in event.records()]
