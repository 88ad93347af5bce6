"""The refusals of an exchange, which outlive one connection: what it has refused, and when that is asked for again.

Refusals have a meaning: final until the exchange's list says otherwise, passing, or unknown, which is asked again ever
more rarely. Where the exchange closes the connection behind a refusal (`Stream.hangs_up`), each time costs the topics
beside it a gap: there a listing is no reason to ask, and the pauses grow up to a day.
"""

from collections.abc import Container, Mapping

from msgspec import Struct, field

from aggregator.exchange import Meaning, Subscription
from aggregator.records import SECOND_NS
from aggregator.session.moment import NEVER_NS
from aggregator.session.topics import Words

FIRST_AGAIN_NS: Mapping[Meaning, int] = {  # it doubles
    "passing": 5 * SECOND_NS,
    "unknown": 60 * SECOND_NS,
    "final": 3600 * SECOND_NS,  # where it costs the connection; else the next listing is waited for
}
LAST_AGAIN_NS: Mapping[Meaning, int] = {"passing": 300 * SECOND_NS, "unknown": 3600 * SECOND_NS}
LAST_COSTLY_NS = 24 * 3600 * SECOND_NS  # where it costs the connection


class Refusal(Struct):
    """The exchange's word against a topic, when the topic is asked for again (monotonic ns), and how often it was.

    reason: as it is told of the topic: "refused: no such market"
    is_news: whether it is to be logged yet: the same words again are no news, unless the topic was had in between
    """

    reason: str
    meaning: Meaning
    due: int
    times: int = 1
    is_news: bool = True


class Memory(Struct):
    """The knowledge that all connections of a stream share.

    refusals: the exchange's words against topics, on whichever connection
    doubted: topics that had no answer when the exchange closed a connection, which it does where it does not know one
    batch: how many topics one request may name at most
    words: the exchange's words that mean nothing to us
    """

    refusals: dict[Subscription, Refusal] = {}
    doubted: set[Subscription] = set()
    batch: int | None = None
    words: Words = field(default_factory=Words)

    def note(self, s: Subscription, reason: str, meaning: Meaning, now: int, *, hangs_up: bool = False) -> Refusal:
        """Remember a refusal. One that several connections hear at the same time counts as one.

        hangs_up: whether the exchange closes the connection behind it
        """
        refusal = self.refusals.setdefault(s, Refusal(reason, meaning, now, times=0))
        if refusal.meaning != meaning:
            refusal.times, refusal.due = 0, now
        refusal.times += refusal.due <= now or not refusal.times
        refusal.is_news = refusal.is_news or (refusal.reason, refusal.meaning) != (reason, meaning)
        refusal.reason, refusal.meaning = reason, meaning
        is_costly = hangs_up and meaning != "passing"
        if meaning == "final" and not is_costly:
            refusal.due = NEVER_NS
        else:
            last = LAST_COSTLY_NS if is_costly else LAST_AGAIN_NS[meaning]
            refusal.due = now + min(FIRST_AGAIN_NS[meaning] << min(refusal.times - 1, 20), last)
        return refusal

    def is_due(self, s: Subscription, refusal: Refusal, now: int) -> bool:
        """Tell whether a connection that was refused a topic asks for it again now.

        It does so at once where the topic was refused for good, and another connection has been granted it since.
        """
        return refusal.due <= now or (refusal.meaning == "final" and self.refusals.get(s) is not refusal)

    def forget(self) -> None:
        """A new listing has come: what was refused for good may be asked for once more."""
        for refusal in self.refusals.values():
            if refusal.due == NEVER_NS:
                refusal.due = 0

    def keep(self, wanted: Container[Subscription]) -> None:
        """Forget the refusals of topics that are not wanted any more."""
        self.doubted.difference_update([s for s in self.doubted if s not in wanted])
        for s in [s for s in self.refusals if s not in wanted]:
            del self.refusals[s]
