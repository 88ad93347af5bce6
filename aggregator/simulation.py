"""A small market that never ends, and what an exchange's own protocol must say of it: pure, seeded, without a clock.

The sandbox serves it over real sockets; `connectors/simulated/<id>.py` declares the words of one protocol.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from aggregator.records import MINUTE_NS, Channel, Levels

DEPTH = 150  # levels a side
REMEMBERED = 1000  # trades that can be asked for afterwards
NEAR = 25.0  # levels from the best price within which most changes fall


class Deal(Struct):
    """One trade; `side` is the taker's."""

    id: int
    price: str
    size: str
    side: Literal["buy", "sell"]
    ts: int


class Change(Struct):
    """One change of the book: levels with absolute sizes (`"0"` spelled with the market's decimals removes)."""

    first: int
    last: int
    previous: int
    bids: Levels
    asks: Levels
    ts: int


class Bar(Struct):
    """The candle of the running minute."""

    start: int
    open: str
    high: str
    low: str
    close: str
    volume: float = 0.0
    trades: int = 0


class Market:
    """One symbol: a book of integer ticks that never crosses, and trades at its best prices."""

    def __init__(self, base: str, quote: str, price: float, decimals: tuple[int, int], rng: random.Random) -> None:
        """Begin at `price`; `decimals` are those of prices and of sizes."""
        self.base, self.quote = base, quote
        self.price_decimals, self.size_decimals = decimals
        self._rng = rng
        self._mid = round(price * 10**self.price_decimals)
        self.update = 1_000_000
        self.trade_id = 500_000
        self.bids = {self._mid - 1 - n: self._size() for n in range(DEPTH)}
        self.asks = {self._mid + 1 + n: self._size() for n in range(DEPTH)}
        self.last = self.price(self._mid)
        self.past: deque[Deal] = deque(maxlen=REMEMBERED)  # oldest first
        self.bar: Bar | None = None
        self.volume = 0.0

    def price(self, ticks: int) -> str:
        """Ticks as decimal text."""
        return f"{ticks / 10**self.price_decimals:.{self.price_decimals}f}"

    def size(self, lots: int) -> str:
        """Lots as decimal text."""
        return f"{lots / 10**self.size_decimals:.{self.size_decimals}f}"

    def _size(self) -> int:
        return max(1, round(self._rng.lognormvariate(0, 1.2) * float(10**self.size_decimals)))

    def levels(self, depth: int | None = None) -> tuple[Levels, Levels]:
        """Bids and asks as they stand, best first."""
        bids = [(self.price(p), self.size(self.bids[p])) for p in sorted(self.bids, reverse=True)[:depth]]
        asks = [(self.price(p), self.size(self.asks[p])) for p in sorted(self.asks)[:depth]]
        return bids, asks

    def best(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """The best bid and ask."""
        bid, ask = max(self.bids), min(self.asks)
        return (self.price(bid), self.size(self.bids[bid])), (self.price(ask), self.size(self.asks[ask]))

    def change(self, now: int) -> Change:
        """Change a few levels, and now and then the price."""
        changed: tuple[dict[int, int], dict[int, int]] = ({}, {})
        if self._rng.random() < 0.1:
            self._move(changed)
        while not (changed[0] or changed[1]) or self._rng.random() < 0.6:
            self._alter(changed)
        first = self.update + 1
        self.update += len(changed[0]) + len(changed[1])
        bids = [(self.price(p), self.size(changed[0][p])) for p in sorted(changed[0], reverse=True)]
        asks = [(self.price(p), self.size(changed[1][p])) for p in sorted(changed[1])]
        return Change(first, self.update, first - 1, bids, asks, now)

    def _move(self, changed: tuple[dict[int, int], dict[int, int]]) -> None:
        """One tick up or down: what stood there goes, and the far end is filled up."""
        up = self._rng.random() < 0.5
        gone, far = (self.asks, self.bids) if up else (self.bids, self.asks)
        self._mid += 1 if up else -1
        best = min(gone) if up else max(gone)
        if best == self._mid:
            del gone[best]
            changed[1 if up else 0][best] = 0
            edge = max(gone) + 1 if up else min(gone) - 1
            gone[edge] = changed[1 if up else 0][edge] = self._size()
        near = self._mid - 1 if up else self._mid + 1
        if near not in far:
            far[near] = changed[0 if up else 1][near] = self._size()
        while len(far) > DEPTH:
            end = min(far) if up else max(far)
            del far[end]
            changed[0 if up else 1][end] = 0

    def _alter(self, changed: tuple[dict[int, int], dict[int, int]]) -> None:
        side = self._rng.randrange(2)
        book = (self.bids, self.asks)[side]
        away = 1 + min(int(self._rng.expovariate(1 / NEAR)), DEPTH - 1)
        ticks = self._mid - away if side == 0 else self._mid + away
        if ticks in book and away > 1 and self._rng.random() < 0.25:
            del book[ticks]
            changed[side][ticks] = 0
        else:
            book[ticks] = changed[side][ticks] = self._size()

    def deal(self, now: int) -> Deal:
        """Trade at the best price; the book is not touched by it."""
        buys = self._rng.random() < 0.5
        ticks = min(self.asks) if buys else max(self.bids)
        lots = max(1, self._size() // 4)
        self.trade_id += 1
        self.last = self.price(ticks)
        self.volume += lots / 10**self.size_decimals
        self._candle(lots, now)
        deal = Deal(self.trade_id, self.last, self.size(lots), "buy" if buys else "sell", now)
        self.past.append(deal)
        return deal

    def _candle(self, lots: int, now: int) -> None:
        start = now - now % MINUTE_NS
        if self.bar is None or self.bar.start != start:
            self.bar = Bar(start, self.last, self.last, self.last, self.last)
        bar = self.bar
        bar.close = self.last
        bar.high = max(bar.high, self.last, key=float)
        bar.low = min(bar.low, self.last, key=float)
        bar.volume += lots / 10**self.size_decimals
        bar.trades += 1


class Said(Struct):
    """A frame of one topic, and what it holds: which numbers a reader misses who does not get it.

    detectable: whether the protocol lets a reader see that this frame is missing
    """

    topic: str
    channel: Channel
    raw_symbol: str
    frame: bytes
    numbers: tuple[int, int] | None = None
    detectable: bool = True


class Heard(Struct):
    """The effects of a frame that a client sent: replies, and topics that begin or end."""

    replies: Sequence[bytes] = ()
    subscribe: Sequence[str] = ()
    unsubscribe: Sequence[str] = ()
    first: Sequence[Said] = ()  # a new subscriber gets these first: whole books, last trades


class Simulation(Struct, frozen=True):
    """One exchange's protocol over the markets.

    hosts: prefixes of its addresses that are served
    markets: base, quote, price and decimals (of prices, of sizes) of what it trades
    name: a market's raw symbol
    hear: a client's frame, the markets and the time -> what follows
    say: an event (a Change, a Deal, or None for the best prices and statistics), its market, the topics that somebody
        wants, and the time -> frames
    answer: path, query, markets and time -> status and body of a REST answer
    greeting: what a client is sent as soon as it is connected
    idle: a frame of which nothing follows, as short as the protocol has them
    farewell: says that the exchange is about to close the connection; empty where the protocol has no such frame
    """

    hosts: tuple[str, ...]
    markets: tuple[tuple[str, str, float, tuple[int, int]], ...]
    name: Callable[[Market], str]
    hear: Callable[[bytes, Mapping[str, Market], int], Heard]
    say: Callable[[Change | Deal | None, Market, set[str], int], Iterable[Said]]
    answer: Callable[[str, Mapping[str, str], Mapping[str, Market], int], tuple[int, bytes]]
    greeting: Sequence[bytes] = ()
    idle: bytes = b"{}"
    farewell: bytes = b""
