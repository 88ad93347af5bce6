"""How long a topic may be silent: learned from its own rhythm, between a floor and a ceiling."""

from msgspec import Struct

from aggregator.records import SECOND_NS

FLOOR_NS = 10 * SECOND_NS  # no topic is called silent sooner
CEILING_NS = 600 * SECOND_NS  # no silent topic is trusted longer
MEMORY = 0.05  # weight of the newest interval in the mean
FADE = 0.98  # the longest interval shrinks by this factor at each newer one
MEANS = 10  # a silence of so many mean intervals is odd
LONGEST = 3  # a silence of so many times the longest recent interval is odd too


class Pulse(Struct, gc=False):
    """The rhythm of one topic, learned at each tick from how many records have come, and when the last one did.

    count: records until the last tick that has brought some
    heard: when (monotonic ns) the last of them came
    mean: of the intervals between records, the newest counting most
    longest: of these intervals, those long ago counting less
    """

    count: int = 0
    heard: int = 0
    mean: float = 0.0
    longest: float = 0.0

    def learn(self, count: int, heard: int) -> None:
        """Take in that `count` records have come in all, the last at `heard` (monotonic ns)."""
        came = count - self.count
        if came <= 0:
            return
        if self.heard:
            interval = (heard - self.heard) / came
            self.mean = interval if not self.mean else self.mean + MEMORY * (interval - self.mean)
            self.longest = max(interval, self.longest * FADE)
        self.count, self.heard = count, heard

    @property
    def deadline(self) -> int:
        """Nanoseconds of silence after which something may be wrong."""
        expected = max(MEANS * self.mean, LONGEST * self.longest)
        return int(min(max(expected, FLOOR_NS), CEILING_NS))

    @property
    def rate(self) -> float | None:
        """Records a second, lately; None while not known."""
        return round(SECOND_NS / self.mean, 3) if self.mean else None
