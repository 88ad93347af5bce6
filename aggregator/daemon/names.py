"""The names of an exchange's markets: a market by its name, by a pattern, or by a name that was meant."""

from collections.abc import Iterator, Sequence

from aggregator.bus.selection import Glob
from aggregator.errors import nearest
from aggregator.ingest.listing import letters
from aggregator.records import Instrument

MOST_NEAR = 3  # names that are given for one that is none
MOST_ALIKE = 200  # names that begin alike, among which it is searched
ALIKE = 2  # characters that they have in common
STEP = 500  # others may have their turn after so many instruments


class NamesOfMarkets:
    """The unified and raw symbols of listed instruments."""

    def __init__(self) -> None:
        self._named: dict[str, tuple[Instrument, ...]] = {}
        self._by_letters: dict[str, str] = {}  # names without punctuation -> symbols
        self._by_beginning: dict[str, dict[str, str]] = {}  # the first letters -> names in small letters -> symbols

    def reading(self, instruments: Sequence[Instrument]) -> Iterator[None]:
        """Take in instruments; in steps."""
        for at, instrument in enumerate(instruments):
            for name in dict.fromkeys(name for name in (instrument.symbol, instrument.raw_symbol) if name):
                self._named[name] = (*self._named.get(name, ()), instrument)
                symbol, small = instrument.symbol or name, name.casefold()
                self._by_letters.setdefault(letters(small), symbol)
                alike = self._by_beginning.setdefault(small[:ALIKE], {})
                if len(alike) < MOST_ALIKE:
                    alike.setdefault(small, symbol)
            if at % STEP == STEP - 1:
                yield

    def named(self, name: str) -> tuple[Instrument, ...]:
        """The instruments of this name: one, or the few that share it."""
        return self._named.get(name, ())

    def fitting(self, glob: Glob) -> Iterator[Instrument]:
        """The instruments that a pattern means, each at least once."""
        return (instrument for name, found in self._named.items() if glob.matches(name) for instrument in found)

    def near(self, name: str) -> tuple[str, ...]:
        """The symbols that were most likely meant by a name that is none, the likeliest first."""
        small = name.casefold()
        found = dict.fromkeys(filter(None, [self._by_letters.get(letters(small))]))
        alike = dict(self._by_beginning.get(small[:ALIKE], {}))
        while alike and len(found) < MOST_NEAR:
            meant = nearest(small, alike)
            if meant is None:
                break
            found[alike.pop(meant)] = None
        return tuple(found)[:MOST_NEAR]
