"""Limits on how often something may be done: at most so much within any window of so many seconds.

A window is a little longer here than the exchange says: what we send evenly can arrive closer together.
"""

from collections import deque

from aggregator.exchange import Budget
from aggregator.records import SECOND_NS

STRETCH = 1.05  # a window is longer than declared by this factor
SLACK_S = 0.05  # and by this much more, because the delays of a network vary


class Window:
    """One budget and what was lately spent of it. Times are nanoseconds of the monotonic clock."""

    def __init__(self, budget: Budget) -> None:
        """Spend at most `budget[0]` in any `budget[1]` seconds."""
        self.limit, self.seconds = budget
        self._length = int((self.seconds * STRETCH + SLACK_S) * SECOND_NS)
        self._spent: deque[tuple[int, int]] = deque()  # when, and how much
        self._sum = 0

    def wait(self, amount: int, now: int) -> int:
        """How long to wait (ns) until `amount` may be spent; an amount above the limit waits for all of it."""
        spent = self._spent
        while spent and spent[0][0] + self._length <= now:
            self._sum -= spent.popleft()[1]
        free_at, excess = now, self._sum + min(amount, self.limit) - self.limit
        for at, weight in spent:
            if excess <= 0:
                break
            free_at = at + self._length
            excess -= weight
        return free_at - now

    def left(self, now: int) -> int:
        """How much may be spent now."""
        self.wait(0, now)  # it forgets what is old
        return self.limit - self._sum

    def spend(self, amount: int, now: int) -> None:
        """Count what is done now."""
        self._spent.append((now, amount))
        self._sum += amount
