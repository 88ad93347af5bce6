"""A model exchange: markets whose every book is remembered, and its end of one connection after another."""

from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from aggregator.records import Levels
from tests.support.model_wire import BASE, Dialect, Said, Sides, decode_asked, encode, summed

SYMBOLS = ("A", "B")


class Market:
    """One symbol's books, every one that there ever was."""

    def __init__(self) -> None:
        self.history: list[Sides] = [({98: 1, 97: 2}, {102: 1, 103: 2})]
        self.traded = 0

    @property
    def update(self) -> int:
        return len(self.history) - 1

    def change(self, seed: int) -> None:
        """Set one level, taking away what it trades against; the book is never crossed."""
        sides = tuple(dict(side) for side in self.history[-1])
        own, sign = seed & 1, 1 if seed & 1 else -1
        price, size = 95 + (seed >> 1) % 11, (seed >> 5) % 4
        sides[own].pop(price, None)
        if size:
            for other in [p for p in sides[1 - own] if (p - price) * sign >= 0]:
                del sides[1 - own][other]
            sides[own][price] = size
        self.history.append((sides[0], sides[1]))


class Flying(Struct):
    """A frame on its way, and whether it can be read when it arrives."""

    said: list[Said]
    is_cut: bool = False
    is_poisoned: bool = False

    @property
    def is_bad(self) -> bool:
        return self.is_cut or self.is_poisoned

    @property
    def frame(self) -> bytes:
        return encode(self.said)[:-1] if self.is_cut else encode(self.said)


class ModelExchange:
    """The exchange's end of one connection after another."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.markets = {symbol: Market() for symbol in SYMBOLS}
        self.flight: deque[Flying] = deque()
        self._sent: dict[str, int] = {}  # symbol -> the last update that a subscriber was sent
        self._trades: set[str] = set()  # symbols whose trades are subscribed

    def hang_up(self) -> None:
        self.flight.clear()
        self._sent.clear()
        self._trades.clear()

    def hear(self, frame: bytes) -> None:
        """Do what is asked on the socket."""
        asked = decode_asked(frame)
        if asked.op == "subscribe":
            self.flight.append(Flying([Said("ack", n=asked.id)]))
        for channel, symbol in asked.topics:
            if asked.op == "whole":
                self.flight.append(Flying([self.whole(symbol)]))
            elif channel == "trades":
                (self._trades.add if asked.op == "subscribe" else self._trades.discard)(symbol)
            elif asked.op == "unsubscribe":
                self._sent.pop(symbol, None)
            else:
                self._sent[symbol] = self.markets[symbol].update
                if self.dialect.whole in {"in_band", "both", "always"}:
                    self.flight.append(Flying([self.whole(symbol)]))

    def sent(self, symbol: str) -> int:
        """The last update that was sent."""
        return self._sent.get(symbol, self.markets[symbol].update)

    def publish(self, symbols: Sequence[str], seed: int = 0) -> None:
        """Send what has changed since the last frame, of all these symbols in one frame."""
        said = []
        for symbol in symbols:
            sent, update = self._sent.get(symbol), self.markets[symbol].update
            if sent is None or sent == update:
                continue
            self._sent[symbol] = update
            if self.dialect.whole == "always":
                said.append(self.whole(symbol))
            else:
                said.append(self._delta(symbol, sent, update, seed))
        if said:
            self.flight.append(Flying(said))

    def trade(self, symbol: str, count: int) -> None:
        """Let trades happen, told in one frame."""
        market = self.markets[symbol]
        numbers = range(market.traded + 1, market.traded + count + 1)
        market.traded += count
        if symbol in self._trades:
            self.flight.append(Flying([self._trade(symbol, n) for n in numbers]))

    def view(self, symbol: str, update: int) -> Sides:
        """The book after an update, as deep as the stream keeps it."""
        bids, asks = self.markets[symbol].history[update]
        depth = self.dialect.depth
        if depth is None:
            return bids, asks
        return {p: bids[p] for p in sorted(bids)[-depth:]}, {p: asks[p] for p in sorted(asks)[:depth]}

    def whole(self, symbol: str, update: int | None = None, limit: int | None = None) -> Said:
        """The whole book after an update (None: the last one)."""
        update = self.markets[symbol].update if update is None else update
        bids, asks = sides = self.view(symbol, update)
        return Said(
            "whole",
            symbol,
            n=self.dialect.number(update) if self.dialect.book else None,
            sum=summed(sides) if self.dialect.checked else None,
            t=self.dialect.number(update),
            bids=[(str(price), str(bids[price])) for price in sorted(bids, reverse=True)][:limit],
            asks=[(str(price), str(asks[price])) for price in sorted(asks)][:limit],
        )

    def trades_since(self, symbol: str, since: int, count: int) -> list[Said]:
        """What REST knows of the trades after a number, `count` of them."""
        first = (since - BASE) // self.dialect.trade_stride + 1
        last = min(self.markets[symbol].traded, first + count - 1)
        return [self._trade(symbol, n) for n in range(max(first, 1), last + 1)]

    def _trade(self, symbol: str, trade: int) -> Said:
        number = BASE + trade * self.dialect.trade_stride
        return Said("trade", symbol, n=number if self.dialect.trades else None, t=number)

    def _delta(self, symbol: str, sent: int, update: int, seed: int) -> Said:
        dialect = self.dialect
        after = self.view(symbol, update)
        bids, asks = (self._changes(symbol, side, range(sent, update), seed) for side in (0, 1))
        return Said(
            "delta",
            symbol,
            n=dialect.number(update) if dialect.book else None,
            first=dialect.number(sent + 1) if "first" in dialect.says else None,
            prev=dialect.number(sent) if "prev" in dialect.says else None,
            sum=summed(after) if dialect.checked else None,
            t=dialect.number(update),
            bids=bids,
            asks=asks,
        )

    def _changes(self, symbol: str, side: int, updates: range, seed: int) -> Levels:
        """Every level that these updates have touched, as it is after them, in one of several spellings."""
        history = [self.view(symbol, update)[side] for update in (*updates, updates.stop)]
        touched = {p: None for was, is_ in pairwise(history) for p in (was | is_) if was.get(p) != is_.get(p)}
        last, full = history[-1], self.markets[symbol].history[updates.stop][side]
        tail = ("", ".0", ".00")[seed % 3]  # what only falls out of a book's depth is not told
        return [(f"{p}{tail}", f"{last.get(p, 0)}{tail}") for p in touched if p in last or p not in full]
