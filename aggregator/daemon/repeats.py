"""Messages of the log that come again and again: they are counted, and told once in a while."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

from msgspec import Struct

from aggregator.daemon.log_forms import LONGEST, one_line

FOLD_S = 10.0  # a message that comes again within this time is counted, and told at its end
MOST_LATELY = 1000  # messages of which it is known that they were said lately


class SaidLately(Struct):
    """A line that was said lately: since when that is so, and how often it came again."""

    record: logging.LogRecord
    since: float
    count: int = 0


class Lately:
    """The lines that were said lately."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: OrderedDict[tuple[str, str], SaidLately] = OrderedDict()

    def takes(self, record: logging.LogRecord) -> bool:
        """Tell whether a line was said already, and count it then."""
        error = record.exc_info[1] if record.exc_info else None
        key = record.getMessage()[:LONGEST], f"{record.levelname} {record.name} {error!r:.{LONGEST}}"
        said = self._said.get(key)
        if said is not None:
            said.count += 1
            return True
        self._said[key] = SaidLately(record, self._clock())
        return False

    def due(self, *, is_end: bool = False) -> Iterator[logging.LogRecord]:
        """Give what is to be told of lines that came again; those that did not are forgotten.

        is_end: tell of all
        """
        now = self._clock()
        while self._said:
            key, said = next(iter(self._said.items()))
            if now - said.since < FOLD_S and len(self._said) <= MOST_LATELY and not is_end:
                return
            del self._said[key]
            if said.count:
                yield _again(said, now - said.since)
                if not is_end:
                    self._said[key] = SaidLately(said.record, now)


def _again(said: SaidLately, seconds: float) -> logging.LogRecord:
    """Say how often a line came again."""
    words = {"msg": "%s (again, %d times in %.0f s)", "exc_info": None, "exc_text": None, "created": time.time()}
    args = one_line(said.record.getMessage()), said.count, seconds
    return logging.makeLogRecord(said.record.__dict__ | words | {"args": args})
