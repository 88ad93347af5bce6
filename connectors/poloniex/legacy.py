"""The protocol before August 2022, which recordings up to then speak: arrays, one numbered channel for each market.

https://github.com/poloniex/api-docs/blob/master/source/includes/_websockets.md
A market's name (`BTC_ETH`: ether for bitcoin) stands in its whole book alone, which comes first. Nothing is subscribed
to in it any more.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.records import BookDelta, BookSnapshot, Levels, Record, Trade
from aggregator.wire import ms, seconds

MARKETS = 1000  # channels from here on are of no single market: heartbeats, tickers, accounts


class Content(Struct):
    currencyPair: str
    orderBook: tuple[dict[str, str], dict[str, str]]  # asks and bids: price -> size


class Whole(Struct, array_like=True, tag="i"):
    content: Content
    at: str | None = None  # milliseconds; in none of these before 2021

    def whole(self, name: str, number: int) -> Record:
        asks, bids = self.content.orderBook
        at = None if self.at is None else ms(self.at)
        return BookSnapshot(
            raw_symbol=name, bids=list(bids.items()), asks=list(asks.items()), sequence=number, ts_event=at
        )


class Level(Struct, array_like=True, tag="o"):
    is_bid: Literal[0, 1]
    price: str
    size: str
    at: str | None = None


class Deal(Struct, array_like=True, tag="t"):
    id: str | int
    is_bought: Literal[0, 1]  # 1: the taker bought
    price: str
    size: str
    time: int  # seconds
    at: str | None = None

    def record(self, raw_symbol: str) -> Record:
        return Trade(
            raw_symbol=raw_symbol,
            id=str(self.id),
            price=self.price,
            size=self.size,
            side="buy" if self.is_bought else "sell",
            ts_event=seconds(self.time) if self.at is None else ms(self.at),
        )


class Update(Struct, array_like=True):
    channel: int | str
    number: int | None = None  # one more with each update of the channel
    rows: Raw = Raw(b"[]")
    name: str | None = None  # the market's, where the recorder has noted it


decode = Decoder(Update).decode
decode_rows = Decoder(list[Whole | Level | Deal]).decode


class Market(Struct):
    """The facts that are known about one market.

    last: the number of its newest frame
    book: that of the newest frame about its book
    before: that of the one before, or of a frame that was missed since
    """

    name: str
    last: int = -1
    book: int = -1
    before: int = -1

    def hear(self, number: int) -> None:
        """Take a frame's number; the same once more changes nothing."""
        if number != self.last:
            self.before = self.book if number == self.last + 1 else number - 1
            self.last = number


def reading() -> Callable[[bytes], Iterable[Record]]:
    """The reader of one connection's frames, which knows the markets whose whole book has come."""
    markets: dict[int, Market] = {}

    def read(frame: bytes) -> Iterable[Record]:
        said = decode(frame)
        if not isinstance(said.channel, int) or said.channel >= MARKETS:
            return ()
        rows = decode_rows(said.rows)
        name = next((row.content.currencyPair for row in rows if isinstance(row, Whole)), said.name)
        if name is not None:
            markets.setdefault(said.channel, Market(name))
        market = markets.get(said.channel)
        if market is None:
            return ()
        if said.number is None:
            raise BadFrame(f"a frame of {market.name} without its number")
        market.hear(said.number)
        return records(market, rows)

    return read


def records(market: Market, rows: list[Whole | Level | Deal]) -> list[Record]:
    name, number = market.name, market.last
    found: list[Record] = [row.whole(name, number) for row in rows if isinstance(row, Whole)]
    found += [row.record(name) for row in rows if isinstance(row, Deal)]
    changed = [row for row in rows if isinstance(row, Level)]
    if changed:
        at, before = changed[-1].at, market.before
        found.append(
            BookDelta(
                raw_symbol=name,
                bids=side(changed, 1),
                asks=side(changed, 0),
                sequence=number,
                sequence_prev=before,
                ts_event=None if at is None else ms(at),
            )
        )
    if changed or any(isinstance(row, Whole) for row in rows):
        market.book = number
    return found


def side(changed: list[Level], is_bid: Literal[0, 1]) -> Levels:
    return [(level.price, level.size) for level in changed if level.is_bid == is_bid]
