"""The silence of topics: time alone tells which are quiet or dead, and what to do about it.

A silence is first probed, where the exchange can be asked whether anything has happened since. A topic that is dead
is asked for again, each time after twice as long; when that has not helped, the connection is to be replaced, once.
"""

from collections.abc import Callable

from aggregator.exchange import Stream
from aggregator.records import Cause, Record
from aggregator.session.moment import Now
from aggregator.session.subscriptions import Subscriptions
from aggregator.session.topics import Topic, happen

MOVING = {"book", "bbo", "ticker"}  # channels that bring a record at once, on every market
SILENT = {"quiet", "stalled", "suspect"}
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

    def look_at(self, topic: Topic, out: list[Record], now: Now) -> None:
        """Judge the silence of one topic."""
        if topic.state == "down":
            return
        silence = now.mono - max(topic.heard, topic.subscribed)
        if silence <= topic.pulse.deadline:
            if topic.heard and topic.gap is None and topic.stands and topic.state != "live":
                topic.retries = topic.asked = 0
                happen(topic, "fresh", out, now)
        elif not topic.heard and self._subscriptions.is_unsent((topic.channel, topic.raw_symbol)):
            return  # the turn of its request has not come yet
        elif topic.state not in SILENT:
            self._fall_silent(topic, out, now)
        elif topic.is_due(now):
            self._try_again(topic, out, now)

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
                self._subscriptions.resubscribe(asked, now.mono)
            happen(topic, "noted", out, now, f"asked for again ({topic.asked})")
