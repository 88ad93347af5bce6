"""Topics that an operator asks for, or does not want, while the daemon runs, whatever the configuration says."""

from collections.abc import Collection, Iterator

from aggregator.bus.selection import Pattern
from aggregator.errors import AggregatorError
from aggregator.ingest.symbols import matches
from aggregator.records import CHANNELS, Channel, Instrument

MOST_BY_HAND = 1000  # patterns of one exchange


class ByHand:
    """The patterns of one exchange that were said by hand; of several that mean a topic the last one counts."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[Pattern, bool]] = {}  # by its text, and whether its topics are wanted

    def __bool__(self) -> bool:
        """Tell whether anything was said."""
        return bool(self._said)

    def say(self, text: str, pattern: Pattern, *, is_wanted: bool) -> None:
        """Want the topics of a pattern from now on, or do without them. Raises AggregatorError: there is no room."""
        self._said.pop(text, None)
        if len(self._said) >= MOST_BY_HAND:
            raise AggregatorError(f"{MOST_BY_HAND} patterns of {pattern.exchange} are said by hand already: reload")
        self._said[text] = pattern, is_wanted

    def copy(self) -> "ByHand":
        """Give what was said so far, so that more can be said."""
        copied = ByHand()
        copied._said = dict(self._said)
        return copied

    def patterns(self, *, is_wanted: bool) -> list[str]:
        """The patterns that are wanted, or those that are not."""
        return [text for text, (_, wanted) in self._said.items() if wanted is is_wanted]

    @property
    def symbols(self) -> list[str]:
        """The symbols of what is wanted."""
        return [pattern.symbol for pattern, is_wanted in self._said.values() if is_wanted]

    def channels_of(self, instrument: Instrument, configured: Collection[Channel]) -> Iterator[Channel]:
        """The channels of a market, given those that it would have without this."""
        meant = [said for said in self._said.values() if matches(said[0].symbol, instrument)]
        for channel in CHANNELS:
            last = next((wanted for pattern, wanted in reversed(meant) if channel in pattern.channels), None)
            if channel in configured if last is None else last:
                yield channel
