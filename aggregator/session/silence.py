"""The silence of topics: time alone tells which are quiet or dead, and what to do about it.

A silence is first probed, where the exchange can be asked whether anything has happened since. A topic that is dead
is asked for again, each time after twice as long; when that has not helped, the connection is to be replaced, once.
Whoever judges a topic is told when to do so again: there may be a hundred thousand, of which hardly any is due.
"""

from collections.abc import Callable

from aggregator.exchange import Stream, Subscription
from aggregator.records import Cause, Record
from aggregator.session.moment import NEVER_NS, Now
from aggregator.session.rhythm import FLOOR_NS
from aggregator.session.subscriptions import Subscriptions
from aggregator.session.topics import Topic, happen

MOVING = {"book", "bbo", "ticker"}  # channels that bring a record at once, on every market
SILENT = {"quiet", "stalled", "suspect"}
RETRIED = {"quiet", "stalled"}  # states in which something is tried again
OFTEN = 8  # times after which it is told how often a topic was asked for
ENOUGH = 3  # times that a topic is asked for again before its connection is replaced


class SilenceWatch:
    """The silence of one connection's topics."""

    def __init__(
        self,
        stream: Stream,
        subscriptions: Subscriptions,
        probe: Callable[[Topic, Now], bool],
    ) -> None:
        """Watch topics; `probe` asks the exchange about one of them, and gives False if that is impossible."""
        self._stream = stream
        self._subscriptions = subscriptions
        self._probe = probe
        self._dead: list[Subscription] = []  # those that are to be asked for again

    def look_at(self, topic: Topic, out: list[Record], now: Now) -> int:
        """Judge the silence of one topic. Gives when (monotonic ns) to do so again, if nothing happens before."""
        if topic.state == "down":
            return NEVER_NS
        end = max(topic.heard, topic.subscribed) + topic.pulse.deadline
        if now.mono <= end:
            if topic.heard and topic.gap is None and topic.stands and topic.state != "live":
                topic.retries = topic.asked = 0
                happen(topic, "fresh", out, now)
            return end + 1
        if not topic.heard and self._subscriptions.is_unsent((topic.channel, topic.raw_symbol)):
            return now.mono + FLOOR_NS  # the turn of its request has not come yet; it is looked at when it has left
        if topic.state not in SILENT:
            self._fall_silent(topic, out, now)
        elif topic.is_due(now):
            self._try_again(topic, out, now)
        return topic.retry_at if topic.state in RETRIED else NEVER_NS

    def _fall_silent(self, topic: Topic, out: list[Record], now: Now) -> None:
        """Call a topic quiet that is silent for longer than its rhythm allows, and probe it."""
        if not topic.heard:
            self.stall(topic, "no_first_frame", "nothing has come since the subscription", out, now)
        elif self._probe(topic, now):
            happen(topic, "silent", out, now, "silent for longer than is usual here; the exchange is asked")
        else:
            happen(topic, "silent", out, now, "silent for longer than is usual here")
        topic.retry(now)

    def _try_again(self, topic: Topic, out: list[Record], now: Now) -> None:
        if topic.state == "stalled":
            self._ask_again(topic, out, now)
        elif topic.state == "quiet":
            topic.retry(now)
            self._probe(topic, now)

    def stall(self, topic: Topic, cause: Cause, reason: str, out: list[Record], now: Now) -> None:
        """Tell that a topic is dead, and begin to ask for it again."""
        topic.retries = 0
        if topic.heard or topic.channel in MOVING:
            topic.lose(cause, out, now)
        happen(topic, "dead", out, now, reason)
        self._ask_again(topic, out, now)

    def _ask_again(self, topic: Topic, out: list[Record], now: Now) -> None:
        topic.retry(now)
        topic.asked += 1
        asked = self._subscriptions.of((topic.channel, topic.raw_symbol))
        if topic.asked == ENOUGH or (self._stream.unsubscribe is None and topic.asked == 1):
            self._subscriptions.reconnect_reason = f"{topic.channel} of {topic.raw_symbol} stays silent"
            happen(topic, "noted", out, now, "a new connection is tried")
        elif self._stream.unsubscribe is not None and asked:
            # a book that the stream alone brings is asked for again by its resync
            if topic.channel != "book" or self._stream.snapshot is not None:
                self._dead += asked
            if _is_told(topic.asked):
                happen(topic, "noted", out, now, f"asked for again ({topic.asked})")

    def ask(self, now: Now) -> None:
        """Ask again for the topics that were found dead, all together: each request may name many of them."""
        if self._dead:
            wanted = [s for s in self._dead if s in self._subscriptions.of((s.channel, s.raw_symbol))]
            self._dead.clear()
            self._subscriptions.resubscribe(wanted, now.mono)


def _is_told(times: int) -> bool:
    """Tell whether it is news that a topic was asked for so often: the eighth time, the sixteenth and so on."""
    return times >= OFTEN and times & (times - 1) == 0
