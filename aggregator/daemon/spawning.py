"""The processes of workers: each is begun here, and one more is kept ready for where one of them dies.

To import the program takes half a second and more, in which nothing of the dead one's exchanges is heard. The one that
is ready has done so, and waits for its first word.
"""

import logging
import os
import socket
import subprocess
import sys
from typing import NamedTuple

MODULE = "aggregator.daemon.worker"  # such a process runs it

log = logging.getLogger("aggregator.daemon")


class Spawned(NamedTuple):
    """A process that waits for its first word, and our end of its socket."""

    process: subprocess.Popen[bytes]
    line: socket.socket

    def end(self) -> None:
        """Have it end."""
        self.line.close()
        self.process.kill()


def _spawn() -> Spawned:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-P", "-m", MODULE, str(theirs.fileno())]
    paths = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # it finds what this process finds
    try:
        process = subprocess.Popen(  # noqa: S603 - our own program; an interrupt at a terminal is the hub's alone
            command, pass_fds=[theirs.fileno()], env=paths, process_group=0
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return Spawned(process, ours)


class Spawner:
    """Begins processes."""

    def __init__(self) -> None:
        self._ready: Spawned | None = None
        self._is_over = False

    def take(self) -> Spawned:
        """Give the process that is ready, or a new one. Raises OSError."""
        ready, self._ready = self._ready, None
        if ready is not None and ready.process.poll() is None:
            return ready
        if ready is not None:
            ready.end()
        return _spawn()

    def prepare(self) -> None:
        """Have a process ready."""
        if self._ready is None and not self._is_over:
            try:
                self._ready = _spawn()
            except OSError as error:
                log.warning("no process is kept ready for where a worker dies: %s", error)

    def stop(self) -> None:
        """Keep none ready any more."""
        self._is_over = True
        if self._ready is not None:
            self._ready.end()

    @property
    def is_gone(self) -> bool:
        """Tell whether nothing is left of the one that was ready, after `stop`."""
        return self._ready is None or self._ready.process.poll() is not None
