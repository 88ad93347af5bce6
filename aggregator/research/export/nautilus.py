"""A catalogue of nautilus_trader, written by the library that is installed: 1.x and 2.x lay theirs out differently.

All numbers of a market have one precision, the finest of its instrument and of what was traded: a catalogue that mixes
precisions cannot be read as a whole. Rows of one record end with `F_LAST`. A file holds a closed span of time.
"""

import re
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from aggregator.records import Bbo, Instrument, Levels, Record, Trade
from aggregator.research.export.market import (
    Beside,
    BookChange,
    BookLost,
    RecordedMarket,
    Step,
    WholeBook,
    decimals,
    is_zero,
)
from aggregator.research.export.writing import CannotExport, ExportedFile, ExportedMarket, exported
from aggregator.tables.extras import MissingPackage, needed

LIBRARY = "nautilus_trader"
PLACES = ("", ".data", ".enums", ".identifiers", ".instruments", ".objects")  # 2.x has all names in the first
PRECISION = 16  # decimals that its numbers have at most
ID_CHARACTERS = 36  # the id of a trade has at most so many
ROWS = 50_000  # so many are in memory, and in a file
LAST, OF_SNAPSHOT = 128, 32
READS: tuple[type[Record], ...] = (Trade, Bbo)
OWN_ID = "trades without an id, or with one of more than 36 characters, which have an id made here"
ODD = re.compile(r"[^A-Za-z0-9/:@._-]")  # 1.x writes an id with any of these, and cannot read it: "SQL error"
ONE_SIDED = "best prices of one side alone"
FINE = "finest digits seen: the recording has no instrument"


def version() -> str:
    """The library with its version, as it is named in the report. Raises MissingPackage."""
    try:
        return f"{LIBRARY} {needed(LIBRARY).__version__}"
    except MissingPackage:
        raise MissingPackage(
            f"a catalogue is written by {LIBRARY} itself, which is not installed: pip install {LIBRARY} "
            "(Python 3.12 or later)"
        ) from None


def write(market: RecordedMarket, folder: Path) -> ExportedMarket:
    """Write a market into the catalogue. Raises OSError, MissingPackage, CannotExport for what it cannot hold."""
    precision = _precision(market)
    catalogue = _Catalogue(market, folder, precision)
    for step in market.steps(*READS):
        catalogue.take(step)
    catalogue.close()
    report = exported(market)
    report.files = catalogue.files
    report.adjusted = {OWN_ID: catalogue.own_ids} if catalogue.own_ids else {}
    if catalogue.one_sided:
        report.left_out[ONE_SIDED] = catalogue.one_sided
    report.details = {
        "instrument_id": str(catalogue.id),
        "price_precision": precision[0],
        "size_precision": precision[1],
    }
    if market.instrument is None:
        report.details["steps_are"] = FINE
    return report


def _precision(market: RecordedMarket) -> tuple[int, int]:
    """The decimals of prices and sizes: of the instrument, or finer where such were told."""
    found = [0, 0]

    def look(levels: Levels) -> None:
        for price, size in levels:
            found[0] = max(found[0], decimals(price))
            found[1] = max(found[1], decimals(size))

    if market.instrument is not None:
        look([(market.instrument.tick_size or "1", market.instrument.lot_size or "1")])
    for step in market.steps(*READS):
        if isinstance(step, WholeBook | BookChange):
            look(step.bids)
            look(step.asks)
        elif isinstance(step, Beside) and isinstance(step.record, Trade):
            look([(step.record.price, step.record.size)])
        elif isinstance(step, Beside) and isinstance(step.record, Bbo):
            quoted = step.record
            look([(quoted.bid_price or "", quoted.bid_size or ""), (quoted.ask_price or "", quoted.ask_size or "")])
    if max(found) > PRECISION:
        raise CannotExport(
            f"{market.exchange} {market.name}: there are numbers of {max(found)} decimals, "
            f"and {LIBRARY} holds {PRECISION} at most"
        )
    return found[0], found[1]


def named(text: str) -> str:
    """A name that the library can read again; anything odd in it is `_` and its bytes in hexadecimal digits."""
    return ODD.sub(lambda found: "".join(f"_{byte:02X}" for byte in found[0].encode("utf-8", "replace")), text) or "_"


class _Model:
    """The names of the library, wherever its version has them."""

    def __init__(self) -> None:
        self.is_first = needed(LIBRARY).__version__.startswith("1.")
        self._places = [needed(f"{LIBRARY}.model{place}") for place in (PLACES if self.is_first else PLACES[:1])]
        inside = needed(f"{LIBRARY}.persistence.catalog" if self.is_first else f"{LIBRARY}.persistence")
        self.catalogue = inside.ParquetDataCatalog

    def __getattr__(self, name: str) -> Any:
        return next(getattr(place, name) for place in self._places if hasattr(place, name))


class _Catalogue:
    """One market in a catalogue."""

    def __init__(self, market: RecordedMarket, folder: Path, precision: tuple[int, int]) -> None:
        version()
        self._model = model = _Model()
        self._market = market
        self._folder = folder
        self._catalogue = model.catalogue(str(folder))
        self._precision = precision
        self._sequence = 0
        symbol, venue = named(market.name), named(market.exchange).upper()
        self.id = model.InstrumentId(model.Symbol(symbol), model.Venue(venue))
        self.files: list[ExportedFile] = []
        self.own_ids = self.one_sided = 0
        self._rows: dict[str, list[Any]] = {"trades": [], "deltas": [], "quotes": []}
        self._ts: dict[str, int] = {}
        sides = model.AggressorSide
        bought, sold = (sides.BUYER, sides.SELLER) if model.is_first else (sides.BUY, sides.SELL)
        self._aggressors = {"buy": bought, "sell": sold, None: sides.NO_AGGRESSOR}
        self._write("instruments", [self._instrument()])

    def take(self, step: Step) -> None:
        """Make the rows of a step. Raises OSError, CannotExport."""
        if isinstance(step, Beside):
            ts_event = step.ts if step.ts_exchange is None else step.ts_exchange
            if isinstance(step.record, Trade):
                self._add("trades", step.ts, [self._trade(step.record, ts_event, step.ts)])
            elif isinstance(step.record, Bbo) and step.record.origin == "native":
                self._add("quotes", step.ts, self._quote(step.record, ts_event, step.ts))
            return
        self._add("deltas", step.ts, self._deltas(step))

    def _deltas(self, step: WholeBook | BookChange | BookLost) -> list[Any]:
        model = self._model
        told = None if isinstance(step, BookLost) else step.ts_exchange
        sequence = 0 if isinstance(step, BookLost) else step.sequence
        times = (sequence if sequence is not None and 0 <= sequence < 2**64 else 0, told or step.ts, step.ts)
        flags = 0 if isinstance(step, BookChange) else OF_SNAPSHOT
        actions = model.BookAction
        rows: list[tuple[Any, Any, str, str]] = []
        if not isinstance(step, BookChange):
            rows.append((actions.CLEAR, model.OrderSide.NO_ORDER_SIDE, "0", "0"))
        if not isinstance(step, BookLost):
            for side, levels in ((model.OrderSide.BUY, step.bids), (model.OrderSide.SELL, step.asks)):
                for price, size in levels:
                    action = actions.DELETE if is_zero(size) else actions.ADD if flags else actions.UPDATE
                    rows.append((action, side, price, size))
        last = len(rows) - 1
        return [
            model.OrderBookDelta(
                self.id,
                action,
                model.BookOrder(side, self._price(price), self._size(size), 0),
                flags | (LAST if at == last else 0),
                *times,
            )
            for at, (action, side, price, size) in enumerate(rows)
        ]

    def _trade(self, trade: Trade, ts_event: int, ts: int) -> Any:
        model, told = self._model, trade.id
        if not told or len(told) > ID_CHARACTERS or not told.isascii():
            self.own_ids += 1
            told = blake2b(f"{told} {trade.offset} {ts}".encode("utf-8", "replace"), digest_size=16).hexdigest()
        side, price, size = self._aggressors[trade.side], self._price(trade.price), self._size(trade.size)
        return model.TradeTick(self.id, price, size, side, model.TradeId(told), ts_event, ts)

    def _quote(self, bbo: Bbo, ts_event: int, ts: int) -> list[Any]:
        if bbo.bid_price is None or bbo.ask_price is None:
            self.one_sided += 1
            return []
        prices = self._price(bbo.bid_price), self._price(bbo.ask_price)
        sizes = self._size(bbo.bid_size or "0"), self._size(bbo.ask_size or "0")
        return [self._model.QuoteTick(self.id, *prices, *sizes, ts_event, ts)]

    def _price(self, text: str) -> Any:
        return self._number(self._model.Price, text, self._precision[0])

    def _size(self, text: str) -> Any:
        return self._number(self._model.Quantity, text, self._precision[1])

    def _number(self, kind: Any, text: str, precision: int) -> Any:
        """A number with all decimals of its market. Raises CannotExport for one that is too great."""
        whole, _, fraction = text.partition(".")
        try:
            return kind.from_str(f"{whole}.{fraction[:precision]:0<{precision}}" if precision else whole)
        except ValueError as error:
            said = f"{self._market.exchange} {self._market.name}: {LIBRARY} cannot hold the number {text}: {error}"
            raise CannotExport(said) from None

    # --- into files

    def _add(self, kind: str, ts: int, rows: list[Any]) -> None:
        """Add rows of one time; a file ends only between two times."""
        waiting = self._rows[kind]
        if len(waiting) >= ROWS and ts > self._ts[kind]:
            self._write(kind, waiting)
            self._rows[kind] = waiting = []
        self._ts[kind] = ts
        waiting += rows

    def close(self) -> None:
        """Write what waits. Raises OSError."""
        for kind, rows in self._rows.items():
            self._write(kind, rows)
            self._rows[kind] = []

    def _write(self, kind: str, rows: list[Any]) -> None:
        if not rows:
            return
        before = set(self._folder.rglob("*.parquet"))
        if self._model.is_first:
            self._catalogue.write_data(rows)
        else:
            writers: dict[str, Callable[[list[Any]], Any]] = {
                "instruments": self._catalogue.write_instruments,
                "trades": self._catalogue.write_trade_ticks,
                "quotes": self._catalogue.write_quote_ticks,
                "deltas": self._catalogue.write_order_book_deltas,
            }
            writers[kind](rows)
        for path in sorted(set(self._folder.rglob("*.parquet")) - before):
            name = path.relative_to(self._folder).as_posix()
            self.files.append(ExportedFile(name, len(rows), rows[0].ts_init, rows[-1].ts_init))

    def _instrument(self) -> Any:
        """The market for the library. Raises CannotExport for a kind that it has none for."""
        model, told = self._model, self._market.instrument or self._guessed()
        tick, lot = (
            self._step(text, digits)
            for text, digits in zip((told.tick_size, told.lot_size), self._precision, strict=True)
        )
        common: dict[str, Any] = {
            "instrument_id": self.id,
            "raw_symbol": model.Symbol(named(self._market.name)),
            "price_precision": self._precision[0],
            "size_precision": self._precision[1],
            "price_increment": self._price(tick),
            "size_increment": self._size(lot),
            "ts_event": told.ts_recv,
            "ts_init": told.ts_recv,
        }
        base, quoted = self._currency(told.base), self._currency(told.quote)
        if told.kind == "spot":
            return model.CurrencyPair(base_currency=base, quote_currency=quoted, **common)
        common |= {"settlement_currency": self._currency(told.settle), "is_inverse": told.settle == told.base}
        if told.contract_size is not None:
            common["multiplier"] = model.Quantity.from_str(told.contract_size)
        common["quote_currency"] = quoted
        if told.kind == "perpetual":
            return model.CryptoPerpetual(base_currency=base, **common)
        if told.kind == "future" and told.expiry is not None:
            times = {"activation_ns": told.ts_listed or 0, "expiration_ns": told.expiry}
            return model.CryptoFuture(underlying=base, **times, **common)
        raise CannotExport(f"{self._market.exchange} {self._market.name}: no export of the kind {told.kind} is known")

    def _guessed(self) -> Instrument:
        """A spot market by its name. Raises CannotExport where it is none."""
        base, _, quoted = (self._market.symbol or "").partition("/")
        if not base or not quoted or ":" in quoted:
            raise CannotExport(
                f"{self._market.exchange} {self._market.name}: the recording does not say what one contract is: "
                "gather the channel `instruments` beside it"
            )
        return Instrument(kind="spot", base=base, quote=quoted.partition("~")[0])

    def _currency(self, code: str | None) -> Any:
        return self._model.Currency.from_str(code or "XXX")

    def _step(self, text: str | None, digits: int) -> str:
        if text is not None and not is_zero(text):
            return text
        return f"0.{'0' * (digits - 1)}1" if digits else "1"
