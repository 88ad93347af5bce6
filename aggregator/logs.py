"""Where the daemon's own words go: standard error, with the priority that the journal understands."""

import logging
import os
import sys

PRIORITIES = {logging.CRITICAL: "<2>", logging.ERROR: "<3>", logging.WARNING: "<4>", logging.INFO: "<6>"}


class _Journal(logging.Formatter):
    """The journal stamps lines itself, and reads a priority in front."""

    def format(self, record: logging.LogRecord) -> str:
        return PRIORITIES.get(record.levelno, "<7>") + super().format(record).replace("\n", " | ")


def set_up(level: str) -> None:
    """Log to standard error from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_Journal("%(name)s: %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("picows").setLevel(logging.ERROR)  # a line that is lost is ours to report, once
