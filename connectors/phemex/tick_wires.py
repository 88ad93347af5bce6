"""Ticks, each of which is one number by a name of its own: an index, a mark price or a rate.

https://phemex-docs.github.io/#price-feed
They are not asked for: `.MBTCUSDT` is the mark price of BTCUSDT, and would be the index of a coin MBTC as well. So a
name that begins with M is passed over, in captures too.
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.exchange import Event, Ignored
from aggregator.records import Funding, IndexPrice
from aggregator.wire import Text, nonzero, optional, unscaled

CURRENT, TO_COME = "FR8H", "FR"  # how names of rates end


class PlainTick(Struct):
    symbol: str
    last: Text
    timestamp: int | None = None  # ns


class Tick(Struct):
    symbol: str
    last: int
    scale: int
    timestamp: int | None = None  # ns


class PlainTickFrame(Struct):
    tick_p: PlainTick

    def records(self) -> Iterable[Event]:
        t = self.tick_p
        return told(t.symbol, "", optional(t.last), t.timestamp)


class TickFrame(Struct):
    """A tick of the older contracts, whose index goes by the base asset alone."""

    tick: Tick

    def records(self) -> Iterable[Event]:
        t = self.tick
        return told(t.symbol, "USD", unscaled(t.last, t.scale), t.timestamp)


def told(name: str, quote: str, number: str | None, at: int | None) -> Iterable[Event]:
    """Tell what a number is by its name, for the contract of that index; `quote` completes its symbol."""
    about = name.removeprefix(".")
    if about == name or number is None:
        return (Ignored("a tick of what is no index, or of no number"),)
    if about.endswith(CURRENT):
        return (Funding(raw_symbol=about.removesuffix(CURRENT) + quote, rate=number, ts_event=at),)
    if about.endswith(TO_COME):
        symbol = about.removesuffix(TO_COME) + quote
        return (Funding(raw_symbol=symbol, rate=number, kind="predicted", ts_event=at),)
    if about.startswith("M"):
        return (Ignored("a tick of a mark price, or of the index of a coin whose name begins with M"),)
    return (IndexPrice(raw_symbol=about + quote, price=number, ts_event=at),) if nonzero(number) else ()
