"""A session between a model exchange and a reader, and what must hold of the three whatever happens on the way."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aggregator.exchange import Subscription
from aggregator.records import Channel, Record
from aggregator.sequence import contiguous
from aggregator.session.fetches import Fetch
from aggregator.session.moment import Now
from aggregator.session.session import Session
from aggregator.session.subscriptions import Key
from aggregator.session.topics import TopicCheckpoint
from tests.support.ledger import Ledger
from tests.support.model import SYMBOLS, Flying, ModelExchange
from tests.support.model_wire import Dialect, Said, encode, stream_of
from tests.support.naive_reader import NaiveReader, ReadBook

MILLISECOND = 1_000_000
WAITS = (100, 1_000, 3_000, 12_000, 70_000)  # ms
PATIENCE = 120  # times 5 s, in which a book must have come back
CHANNELS: tuple[Channel, ...] = ("book", "trades")


class Journey:
    """A session, the exchange it talks to, the reader of what it publishes, and what must hold of the three."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.exchange = ModelExchange(dialect)
        self.reader = NaiveReader(SYMBOLS)
        self.time = 10**18
        self.connections = 0
        self.requests: list[tuple[Fetch, int]] = []  # with the book's last update when it was asked
        self.delivered: dict[str, int] = {}  # symbol -> the last update that came over this connection
        self.harmed: set[str] = set()  # symbols of which something was lost on this connection
        self.allowed: set[str] = set()  # causes that a gap may name just now, whatever was lost
        self.ledger = Ledger(SYMBOLS, dialect.trade_stride, is_sure=dialect.trades is contiguous)
        self.session = self._connect({})

    # --- the connection ---------------------------------------------------------------------------------------------

    def _connect(self, carried: Mapping[Key, TopicCheckpoint]) -> Session:
        self.connections += 1
        topics = [Subscription(channel, symbol) for channel in CHANNELS for symbol in SYMBOLS]
        self.session = Session(
            "model",
            stream_of(self.dialect),
            conn=f"model#{self.connections}",
            instruments={},
            subscriptions=topics,
            carried=carried,
        )
        self.requests.clear()
        self.delivered.clear()
        self.harmed.clear()
        self.exchange.hang_up()
        self._publish(self.session.open(self.now))
        return self.session

    def reconnect(self, _: int = 0) -> None:
        self.allowed = {"disconnect"}
        self._publish(self.session.close("disconnect", self.now))
        self.allowed = set()
        self._connect(self.session.carried())

    @property
    def now(self) -> Now:
        return Now(self.time, self.time)

    def step(self, name: str, seed: int) -> None:
        """Let one thing happen."""
        self.time += 50 * MILLISECOND
        getattr(self, name)(seed)
        if self.session.close_reason is not None or self.session.reconnect_reason is not None:
            self.reconnect()

    def _pump(self) -> None:
        while self.session.outbox:
            frame = self.session.outbox.popleft()
            self.session.sent(frame, self.now)
            if b"unsubscribe" in frame:  # what changes before it is subscribed again is lost
                self.harmed.update(SYMBOLS)
            self.exchange.hear(frame)
        while self.session.wanted:
            fetch = self.session.wanted.popleft()
            self.requests.append((fetch, self.exchange.markets[fetch.raw_symbol].update))

    # --- what happens at the exchange -------------------------------------------------------------------------------

    def change(self, seed: int) -> None:
        symbol = SYMBOLS[seed & 1]
        market = self.exchange.markets[symbol]
        market.change(seed >> 1)
        unsent = market.update - self.exchange.sent(symbol)
        if seed % 3 or unsent >= self.dialect.most:
            self.exchange.publish([symbol], seed)

    def live(self, seed: int) -> None:
        self.change(seed)
        self.deliver_all()

    def both(self, seed: int) -> None:
        for symbol in SYMBOLS:
            self.exchange.publish([symbol], seed)
            self.exchange.markets[symbol].change(seed)
        self.exchange.publish(SYMBOLS, seed)
        self.deliver_all()

    def trade(self, seed: int) -> None:
        self.exchange.trade(SYMBOLS[seed & 1], 1 + (seed >> 1) % 3)
        if seed & 8:
            self.deliver_all()

    # --- what happens on the way ------------------------------------------------------------------------------------

    def deliver(self, seed: int) -> None:
        for _ in range(1 + seed % 3):
            if self.exchange.flight:
                self._deliver(self.exchange.flight.popleft())

    def deliver_all(self) -> None:
        """What is on the way, in one read of the socket."""
        together = list(self.exchange.flight)
        self.exchange.flight.clear()
        self._deliver(*together)

    def _deliver(self, *together: Flying) -> None:
        records = self.session.receive([flying.frame for flying in together], self.now)
        for flying in together:
            if flying.is_bad:
                continue
            for said in flying.said:
                if said.kind in {"delta", "whole"}:
                    update = self.dialect.update(said.t or 0)
                    is_last = self.dialect.book is None  # nothing tells that an older frame is old
                    self.delivered[said.s] = update if is_last else max(update, self.delivered.get(said.s, 0))
        self._publish(records)

    def _next(self, seed: int, count: int = 1) -> list[Flying]:
        """The next frames on the way, some made where there are none."""
        for _ in range(3):
            if len(self.exchange.flight) < count:
                (self.trade if seed & 512 else self.change)(seed & 0b111110111)
        return list(self.exchange.flight)[:count]

    def _hides(self, flying: Flying) -> bool:
        """Whether nobody could notice what is lost with this frame."""
        kinds = {said.kind for said in flying.said}
        is_blind = {"trade": self.dialect.trades is not contiguous, "ack": False}
        return any(is_blind.get(kind, self.dialect.is_blind) for kind in kinds)

    def lose(self, seed: int) -> None:
        for flying in self._next(seed):
            if not self._hides(flying):
                self._harm(flying)
                self.exchange.flight.popleft()

    def twice(self, seed: int) -> None:
        for flying in self._next(seed):
            if any(said.kind == "trade" for said in flying.said) and self.dialect.trades is None:
                continue
            self.exchange.flight.appendleft(flying)
            if self.dialect.book is None:
                self._harm(flying)

    def swap(self, seed: int) -> None:
        frames = self._next(seed, 2)
        if len(frames) == 2 and not any(map(self._hides, frames)):
            for flying in frames:
                self._harm(flying)
            self.exchange.flight[0], self.exchange.flight[1] = self.exchange.flight[1], self.exchange.flight[0]

    def garble(self, seed: int) -> None:
        for flying in self._next(seed):
            self._harm_read(flying)
            self.exchange.flight[0] = Flying(flying.said, is_cut=True)

    def poison(self, seed: int) -> None:
        for flying in self._next(seed):
            if any(said.kind in {"delta", "whole"} for said in flying.said):
                self._harm_read(flying)
                self.exchange.flight[0] = Flying([poisoned(said) for said in flying.said], is_poisoned=True)

    def wrong(self, seed: int) -> None:
        for flying in self._next(seed):
            if self.dialect.checked:
                self._harm(flying)
                for said in flying.said:
                    said.sum = said.sum and said.sum ^ 1

    def _harm(self, flying: Flying) -> None:
        self.harmed.update(said.s for said in flying.said)

    def _harm_read(self, flying: Flying) -> None:
        """A frame that cannot be read does not say whose it is; without numbers any book may have been in it."""
        self._harm(flying)
        if not self.dialect.checked and (self.dialect.book is None or not self.dialect.book.sure):
            self.harmed.update(SYMBOLS)

    # --- what is asked by REST --------------------------------------------------------------------------------------

    def answer(self, seed: int, *, age: int = 0) -> None:
        if self.requests:
            fetch, asked = self.requests.pop(0)
            self._answer(fetch, self._body(fetch, asked, seed, age))

    def old(self, seed: int) -> None:
        self._harm_asked()
        self.answer(seed, age=1 + seed % 5)

    def spoil(self, seed: int) -> None:
        self._harm_asked()
        if self.requests:
            fetch, asked = self.requests.pop(0)
            body = self._body(fetch, asked, seed, 0)
            self._answer(fetch, encode([poisoned(said) for said in body]) if seed & 1 else encode(body)[:-1])

    def fail(self, _: int) -> None:
        if self.requests:
            self.session.unanswered(self.requests.pop(0)[0])
            self._publish([])

    def _harm_asked(self) -> None:
        self.harmed.update(fetch.raw_symbol for fetch, _ in self.requests[:1])

    def _body(self, fetch: Fetch, asked: int, seed: int, age: int) -> list[Said]:
        if fetch.channel == "trades":
            since = int(fetch.request.url.partition("since=")[2])
            return self.exchange.trades_since(fetch.raw_symbol, since, 1 + seed % 8)
        newest = self.exchange.markets[fetch.raw_symbol].update
        update = max(asked - age, 0) if age else asked + seed % (newest - asked + 1)
        return [self.exchange.whole(fetch.raw_symbol, update, self.dialect.limit)]

    def _answer(self, fetch: Fetch, body: list[Said] | bytes) -> None:
        self.allowed = {"stalled"}
        body = body if isinstance(body, bytes) else encode(body)
        self._publish(self.session.answer(fetch, body, self.now))
        self.allowed = set()

    def wait(self, seed: int) -> None:
        self.time += WAITS[seed % len(WAITS)] * MILLISECOND
        self._tick()

    def _tick(self) -> None:
        self.allowed = {"no_first_frame", "stalled"}
        self._publish(self.session.tick(self.now))
        self.allowed = set()

    # --- what must hold ---------------------------------------------------------------------------------------------

    def _publish(self, records: Sequence[Record]) -> None:
        for record in records:
            read = self.reader.read(encode(record))
            if read["type"] == "trade":
                self.ledger.see_trade(read, is_told=("trades", read["raw_symbol"]) in self.reader.gaps)
            elif read["type"] == "gap":
                self._see_gap(read)
            elif read["type"].startswith("book_"):
                self._see_book(read["raw_symbol"])
        self._pump()
        for symbol in SYMBOLS:
            self._look_at(symbol)

    def _see_book(self, symbol: str) -> None:
        """Within one answer of the session as well, a trusted book is one that there was."""
        book = self.reader.trusted(symbol)
        if book is not None and book.sequence is not None:
            update = self.dialect.update(book.sequence)
            assert book.equals(self.exchange.view(symbol, update)), f"{symbol}: not the book of update {update}"

    def _look_at(self, symbol: str) -> None:
        """The reader's book is the exchange's as of what was delivered, and so is what the session serves."""
        book = self.reader.trusted(symbol)
        served = [ReadBook(json.loads(encode(record))) for record in self.session.books(self.now, symbol)]
        if book is None:
            assert not served, f"{symbol}: a book is served that is not to be trusted"
            return
        update = self.delivered.get(symbol)
        if book.sequence is not None:
            assert self.dialect.update(book.sequence) >= (update or 0), f"{symbol}: update {update} is missing"
            update = self.dialect.update(book.sequence)
        assert update is not None, f"{symbol}: a book of nothing"
        view = self.exchange.view(symbol, update)
        assert book.equals(view), f"{symbol}: not the book of update {update}"
        assert served, f"{symbol}: a good book is not served"
        assert served[0].equals(view), f"{symbol}: another book is served than is published"

    def _see_gap(self, gap: dict[str, Any]) -> None:
        symbol = gap["raw_symbol"]
        if gap["phase"] == "open":
            has_lost = gap["cause"] in self.allowed or symbol in self.harmed
            assert has_lost, f"{symbol}: a gap of {gap['channel']} ({gap['cause']}) without a loss"
        if gap["channel"] in {"trades", None}:
            self.ledger.see_gap(gap)

    def heal(self) -> None:
        """With no more faults, every book comes back and every gap ends."""
        for _ in range(PATIENCE):
            for seed, symbol in enumerate(SYMBOLS):
                self.step("live", seed + 64)
                self.exchange.publish([symbol])
                self.step("trade", seed + 8)
            while self.requests:
                self.step("answer", 7)
            if not self.reader.gaps and all(self._is_whole(symbol) for symbol in SYMBOLS):
                return
            self.time += 4800 * MILLISECOND
            self.step("tick", 0)
        raise AssertionError(f"not whole again: {self.reader.gaps or self.reader.books}")

    def tick(self, _: int) -> None:
        self._tick()

    def _is_whole(self, symbol: str) -> bool:
        book = self.reader.trusted(symbol)
        return book is not None and book.equals(self.exchange.view(symbol, self.exchange.markets[symbol].update))


def poisoned(said: Said) -> Said:
    """The same, with a price that is no number."""
    return Said(said.kind, said.s, said.n, said.first, said.prev, said.sum, said.t, [("x", "1")], said.asks)
