"""How long a topic may be silent: learned from its own rhythm, between a floor and a ceiling."""

from aggregator.records import SECOND_NS

FLOOR_NS = 10 * SECOND_NS  # no topic is called silent sooner
CEILING_NS = 600 * SECOND_NS  # no silent topic is trusted longer
MEMORY = 0.05  # weight of the newest interval in the mean
FADE = 0.98  # the longest interval shrinks by this factor at each newer one
MEANS = 10  # a silence of so many mean intervals is odd
LONGEST = 3  # a silence of so many times the longest recent interval is odd too


class Pulse:
    """The rhythm of one topic, learned at each tick from how many records have come, and when the last one did."""

    __slots__ = ("_count", "_heard", "_longest", "_mean")

    def __init__(self) -> None:
        self._count = 0
        self._heard = 0
        self._mean = 0.0
        self._longest = 0.0

    def learn(self, count: int, heard: int) -> None:
        """Take in that `count` records have come in all, the last at `heard` (monotonic ns)."""
        came = count - self._count
        if came <= 0:
            return
        if self._heard:
            interval = (heard - self._heard) / came
            self._mean = interval if not self._mean else self._mean + MEMORY * (interval - self._mean)
            self._longest = max(interval, self._longest * FADE)
        self._count, self._heard = count, heard

    @property
    def deadline(self) -> int:
        """Nanoseconds of silence after which something may be wrong."""
        expected = max(MEANS * self._mean, LONGEST * self._longest)
        return int(min(max(expected, FLOOR_NS), CEILING_NS))

    @property
    def rate(self) -> float | None:
        """Records a second, lately; None while not known."""
        return round(SECOND_NS / self._mean, 3) if self._mean else None
