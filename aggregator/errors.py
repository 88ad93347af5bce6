"""The errors that aggregator raises itself, told apart by their remedies; and the suggestions that their texts make."""

from collections.abc import Collection
from difflib import SequenceMatcher

import msgspec

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # a decoder raises these for bytes of strangers
LIKENESS = 0.7  # below this ratio a did-you-mean is a guess


class AggregatorError(Exception):
    """The root of all that we raise ourselves."""


class ConfigError(AggregatorError):
    """The operator must act: the text names the file, the key and what is allowed."""


class SessionError(AggregatorError):
    """This connection, or this answer, is of no use: try again.

    wait: seconds before that, where the exchange says so
    is_busy: whether the exchange answered that it was asked too much
    brief: the text without the exchange's words, for a log in which these stand already
    """

    def __init__(self, text: str, wait: float = 0.0, *, is_busy: bool = False, words: str = "") -> None:
        """Say what happened, and in which words of the exchange."""
        super().__init__(f"{text}: {words}" if words else text)
        self.wait = wait
        self.is_busy = is_busy
        self.brief = text


class NotACapture(AggregatorError):
    """A file holds something else than captured frames; the text says what."""


class BadFrame(AggregatorError):
    """A frame that a parser cannot read: counted, kept for a look, and the next frame is read."""


class Bomb(BadFrame):
    """A frame that unpacks to more than any real one holds: no accident, so that one is enough to hang up."""


def nearest(text: str, among: Collection[str]) -> str | None:
    """The most similar of `among`, the first of equals; None where nothing is similar."""
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(text.strip().casefold())
    best, likeness = None, LIKENESS
    for candidate in among:
        matcher.set_seq1(candidate)
        if matcher.quick_ratio() > likeness and (ratio := matcher.ratio()) > likeness:
            best, likeness = candidate, ratio
    return best


def is_of_the_machine(error: BaseException) -> bool:
    """Tell whether an error is one of the machine's: no more files, threads or memory. No code of ours is to blame."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_of_the_machine, error.exceptions))
    return isinstance(error, OSError | MemoryError) or (type(error) is RuntimeError and "new thread" in str(error))


def in_short(error: BaseException) -> str:
    """An error in a few words, also one of several."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(map(in_short, error.exceptions)))
    return str(error) or type(error).__name__
