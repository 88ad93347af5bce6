"""What can go wrong, by what is to be done about it."""


class AggregatorError(Exception):
    """The root of all that we raise ourselves."""


class ConfigError(AggregatorError):
    """The operator must act: the text names the file, the key and what is allowed."""


class SessionError(AggregatorError):
    """This connection is of no more use: reconnect."""


class BadFrame(AggregatorError):
    """A frame that a parser cannot read: counted, kept for a look, and the next frame is read."""
