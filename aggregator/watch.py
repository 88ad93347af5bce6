"""What time alone says of topics: which are live, quiet or dead, and what is done about it.

A silence is first probed, where the exchange can be asked whether anything has happened since. A topic that is dead
is asked for again, each time after twice as long; when that has not helped, the connection is to be replaced, once.
"""

from collections.abc import Callable

from aggregator.exchange import Stream
from aggregator.records import Cause, Record
from aggregator.subscriptions import Subscriptions
from aggregator.topics import Now, Topic, say

SECOND = 1_000_000_000
MOVING = {"book", "bbo", "ticker"}  # channels that say something at once, on every market
SILENT = {"quiet", "stalled", "suspect"}
ENOUGH = 3  # times that a topic is asked for again before its connection is replaced


class Watch:
    """The silence of one connection's topics."""

    def __init__(
        self,
        stream: Stream,
        subscriptions: Subscriptions,
        probe: Callable[[Topic, Now], bool],
    ) -> None:
        """Watch topics that were subscribed to; `probe` asks the exchange about one, and says whether that can be."""
        self._stream = stream
        self._subscriptions = subscriptions
        self._probe = probe

    def look_at(self, topic: Topic, out: list[Record], now: Now) -> None:
        """Notice what one topic's silence means."""
        if topic.state == "down":
            return
        silence = now.mono - max(topic.heard, topic.subscribed)
        if silence <= topic.pulse.deadline:
            if topic.heard and topic.gap is None and topic.stands and topic.state != "live":
                topic.retries = topic.asked = 0
                say(topic, "live", out, now)
        elif topic.state not in SILENT:
            self._fall_silent(topic, out, now)
        elif topic.is_due(now):
            self._try_again(topic, out, now)

    def _fall_silent(self, topic: Topic, out: list[Record], now: Now) -> None:
        """Nothing came for longer than this topic's rhythm allows."""
        if not topic.heard:
            self.stall(topic, "no_first_frame", "nothing has come since the subscription", out, now)
        elif self._probe(topic, now):
            say(topic, "quiet", out, now, "silent for longer than is usual here; the exchange is asked")
        else:
            say(topic, "quiet", out, now, "silent for longer than is usual here")
        topic.retry(now)

    def _try_again(self, topic: Topic, out: list[Record], now: Now) -> None:
        if topic.state == "stalled":
            self._ask_again(topic, out, now)
        elif topic.state == "quiet":
            topic.retry(now)
            self._probe(topic, now)

    def stall(self, topic: Topic, cause: Cause, reason: str, out: list[Record], now: Now) -> None:
        """A topic is dead: say so, and begin to ask for it again."""
        topic.retries = 0
        if topic.heard or topic.channel in MOVING:
            topic.lose(cause, out, now)
        say(topic, "stalled", out, now, reason)
        self._ask_again(topic, out, now)

    def _ask_again(self, topic: Topic, out: list[Record], now: Now) -> None:
        topic.retry(now)
        topic.asked += 1
        asked = self._subscriptions.of((topic.channel, topic.raw_symbol))
        if topic.asked == ENOUGH or (self._stream.unsubscribe is None and topic.asked == 1):
            self._subscriptions.replace = f"{topic.channel} of {topic.raw_symbol} stays silent"
            say(topic, topic.state, out, now, "a new connection is tried")
        elif self._stream.unsubscribe is not None and asked:
            if topic.channel != "book" or self._stream.snapshot is not None:  # else its resync does just that
                self._subscriptions.resubscribe(asked, now.mono)
            say(topic, topic.state, out, now, f"asked for again ({topic.asked})")
