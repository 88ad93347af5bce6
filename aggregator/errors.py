"""The errors that aggregator raises itself, told apart by their remedies."""


class AggregatorError(Exception):
    """The root of all that we raise ourselves."""


class ConfigError(AggregatorError):
    """The operator must act: the text names the file, the key and what is allowed."""


class SessionError(AggregatorError):
    """This connection, or this answer, is of no use: try again.

    wait: seconds before that, where the exchange says so
    is_busy: whether the exchange answered that it was asked too much
    """

    def __init__(self, text: str, wait: float = 0.0, *, is_busy: bool = False) -> None:
        """Say what happened."""
        super().__init__(text)
        self.wait = wait
        self.is_busy = is_busy


class NotACapture(AggregatorError):
    """A file holds something else than captured frames; the text says what."""


class BadFrame(AggregatorError):
    """A frame that a parser cannot read: counted, kept for a look, and the next frame is read."""


class Bomb(BadFrame):
    """A frame that unpacks to more than any real one holds: no accident, so that one is enough to hang up."""
