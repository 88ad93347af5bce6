"""A directory that one process writes to: it is locked, and looked at before the daemon starts."""

import errno
import fcntl
import os
from pathlib import Path

from aggregator.errors import ConfigError


def lock_directory(path: Path) -> int:
    """A descriptor of a directory, made where it is missing, that holds the only lock on it. Raises OSError."""
    path.mkdir(parents=True, exist_ok=True)
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(root)
        raise BlockingIOError(error.errno, "another process writes there", str(path)) from error
    return root


def check_directory(path: Path, name: str) -> None:
    """Write below a directory, to see whether that can be done; nothing stays of it. Raises ConfigError.

    A full disk is no reason not to start: it may have room later, and what it costs is counted.
    name: of what will be written there, as the error calls it
    """
    try:
        root = lock_directory(path)
        try:
            probe = os.open(f".probe-{os.getpid()}", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=root)
            os.close(probe)
            os.unlink(f".probe-{os.getpid()}", dir_fd=root)
        finally:
            os.close(root)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise ConfigError(f"{name} cannot be written below {path}: {error.strerror}") from error
