"""The errors of the client."""

from aggregator.errors import AggregatorError


class FeedError(AggregatorError):
    """The feed cannot be reached, or refuses a request; the text says why."""


class CutOff(FeedError):
    """The connection has ended, and the feed had not said that it would."""


class LockedOut(FeedError):
    """The token or a certificate is refused, here or there: to try again does not help."""


class NoFeed(FeedError):
    """Something answers, and it does not speak as the feed does."""
