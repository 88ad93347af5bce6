"""One bar of trades: its prices as they were told, its volumes summed exactly."""

from decimal import Context, Decimal, InvalidOperation

from aggregator.derived.channel import Stamp
from aggregator.records import MINUTE_NS, Candle, Flags, Trade

EXACT = Context(prec=1000)  # enough for the product of any two numbers, and for the sum of any number of those
AHEAD_NS = MINUTE_NS  # an exchange's clock that is further ahead of ours than this is not believed
APART = frozenset({"block", "rfq"})  # kinds of trades that were agreed outside of the market


def is_counted(trade: Trade) -> bool:
    """Tell whether a trade belongs into bars.

    One that was agreed apart does not. One of those that an exchange repeats at the start of a subscription does if it
    is numbered: then it has not been told before.
    """
    return trade.kind not in APART and (trade.sequence is not None or "snapshot" not in (trade.flags or ()))


def time_of(trade: Trade) -> int:
    """The time of a trade: the exchange's, or ours where it gives none or is far ahead of us."""
    at = trade.ts_event
    return trade.ts_recv if at is None or at > trade.ts_recv + AHEAD_NS else at


def base_of(trade: Trade) -> Decimal | None:
    """The size of a trade in the base asset."""
    return number(trade.base_size or (trade.size if trade.size_unit == "base" else None))


def quote_of(trade: Trade) -> Decimal | None:
    """The size of a trade in the quote asset: as it is given, or else its price times its size in the base asset."""
    given = number(trade.quote_size or (trade.size if trade.size_unit == "quote" else None))
    if given is not None:
        return given
    price, base = number(trade.price), base_of(trade)
    return None if price is None or base is None else EXACT.multiply(price, base)


def number(text: str | None) -> Decimal | None:
    """A number; null for null, and for what is none."""
    if text is None:
        return None
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else EXACT.add(one, other)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


class TradeBar:
    """A bar of at least one trade.

    start: its beginning, inclusive
    end: its end, exclusive; of a bar that time does not end: just behind its latest trade
    told: whether it was told as complete when it was told as closed; null: it was not told yet
    """

    __slots__ = (
        "_base",
        "_contracts",
        "_count",
        "_first",
        "_high",
        "_highest",
        "_latest",
        "_low",
        "_lowest",
        "_newest",
        "_quote",
        "close",
        "end",
        "open",
        "start",
        "told",
    )

    def __init__(self, trade: Trade, price: Decimal, at: int, start: int, end: int) -> None:
        """Begin with a trade of this price and time."""
        self.start, self.end = start, end
        self.told: bool | None = None
        self.open = self.close = self._highest = self._lowest = trade.price
        self._high = self._low = price
        self._first = self._latest = at
        self._newest = trade
        self._base = self._quote = self._contracts = EXACT.create_decimal(0)  # type: Decimal | None
        self._count: int | None = 0
        self._add_sizes(trade)

    def add(self, trade: Trade, price: Decimal, at: int) -> None:
        """Add a trade. The first price is that of the earliest, the last that of the latest, whenever they came."""
        if price > self._high:
            self._high, self._highest = price, trade.price
        if price < self._low:
            self._low, self._lowest = price, trade.price
        if at < self._first:
            self._first, self.open = at, trade.price
        if at >= self._latest:
            self._latest, self.close = at, trade.price
        self._newest = trade
        self._add_sizes(trade)

    def _add_sizes(self, trade: Trade) -> None:
        self._base = _sum(self._base, base_of(trade))
        self._quote = _sum(self._quote, quote_of(trade))
        self._contracts = _sum(self._contracts, number(trade.size) if trade.size_unit == "contract" else None)
        several = 1 if trade.kind != "aggregate" else trade.count
        self._count = None if self._count is None or several is None else self._count + several

    def candle(self, stamp: Stamp, interval: str, *, closed: bool, complete: bool, flags: Flags = ()) -> Candle:
        """The bar as a record."""
        found = Candle(
            **stamp.of(self._newest),
            interval=interval,
            ts_open=self.start,
            ts_close=self.end,
            open=self.open,
            high=self._highest,
            low=self._lowest,
            close=self.close,
            base_volume=_text(self._base),
            quote_volume=_text(self._quote),
            contract_volume=_text(self._contracts),
            trades=self._count,
            closed=closed,
            origin="computed",
            complete=complete,
        )
        if flags:
            found.flags = flags
        return found
