"""The name by which other daemons know this one: made once, and kept with what outlives the daemon.

Records that another daemon passes on name the daemons by which they came. So it knows its own when they return.
"""

import logging
import platform
import re
import secrets
from pathlib import Path

from aggregator.ingest import state

FILE = "name"  # it stands in the directory of state
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
HOST_CHARACTERS = 40  # so much of this machine's name
CHANCE_BYTES = 4

log = logging.getLogger("aggregator.daemon")


def own_name(directory: Path) -> str:
    """The name that the directory of state holds: this machine's and some chance. It is made where there is none."""
    path = directory / FILE
    try:
        found = (state.read(path) or b"").decode("ascii", "replace").strip()
        if NAME.fullmatch(found):
            return found
        made = _made()
        state.write(path, [f"{made}\n".encode()])
    except OSError as error:
        log.warning("%s: %s; other daemons know this one by another name after the next start", path, error)
        return _made()
    return made


def _made() -> str:
    host = re.sub(r"[^A-Za-z0-9_.-]+", "-", platform.node()).strip("-.")[:HOST_CHARACTERS]
    return f"{host or 'daemon'}-{secrets.token_hex(CHANCE_BYTES)}"
