"""The topics that have to be live before the daemon calls itself ready: at the start, and with other such topics."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from aggregator.bus.selection import RecordTopic, Selection, parse_pattern
from aggregator.bus.view import Views, Wanted

LOOK_S = 0.25  # between two looks
NAMED = 5  # topics that a line of the log names
GOOD = {"live", "quiet"}

log = logging.getLogger("aggregator.daemon")


class Required:
    """Knows which of the topics of some patterns have not been live yet."""

    def __init__(self, patterns: Sequence[str], views: Views) -> None:
        """Begin; whatever is wanted later counts too. Raises BadPattern."""
        self._patterns = {text: Selection([parse_pattern(text)]) for text in patterns}
        self._unmet = set(patterns)  # no topic fits these so far
        self._waiting: dict[Wanted, None] = {}
        self._views = views
        views.follow(self._expect)

    def _expect(self, wanted: Iterable[Wanted]) -> None:
        for topic in wanted:
            names = tuple(dict.fromkeys(name for name in (topic.symbol, topic.raw_symbol) if name is not None))
            found = RecordTopic((topic.channel,), topic.exchange, names)
            fitting = [text for text, selection in self._patterns.items() if selection.wants(found)]
            if fitting:
                self._unmet.difference_update(fitting)
                self._waiting[topic] = None

    def lacking(self) -> list[str]:
        """In words the topics that have not been live, and the patterns that no topic fits."""
        states = {topic: self._state(topic) for topic in self._waiting}
        for topic, state in states.items():
            if state in GOOD:
                del self._waiting[topic]
        return [
            *(f"{text} (no such topic)" for text in sorted(self._unmet)),
            *(f"{t.channel}:{t.exchange}:{t.symbol or t.raw_symbol} ({states[t]})" for t in self._waiting),
        ]

    def _state(self, topic: Wanted) -> str:
        found = [health.state for health in self._views.health(topic.channel, topic.exchange, topic.raw_symbol)]
        return next((state for state in found if state not in GOOD), found[0] if found else "absent")

    async def wait(self, grace_s: float, tell: Callable[[str], None]) -> None:
        """Wait until all have been live, or so many seconds; `tell` is told meanwhile what is missing."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while lacking := self.lacking():
            if loop.time() - begun >= grace_s:
                log.warning("ready without what is required after %g s: %s", grace_s, _named(lacking))
                break
            tell(f"waiting for {_named(lacking)}")
            await asyncio.sleep(LOOK_S)
        else:
            log.info("ready: what is required is live, after %.1f s", loop.time() - begun)
        self._views.leave(self._expect)


def _named(lacking: Sequence[str]) -> str:
    more = len(lacking) - NAMED
    return ", ".join(lacking[:NAMED]) + (f" and {more} more" if more > 0 else "")
