"""Files that a daemon keeps for its next start: read with care, as anything may stand there; written whole or not."""

import errno
import fcntl
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

import msgspec
from msgspec import Struct

from aggregator.errors import ConfigError

MOST_BYTES = 256 * 2**20  # a file that is read has no more: a hundred times what the largest exchange needs
VERSION = 1  # the version of the files of state
LOCK = "lock"  # the name of the file that is locked
NEW = ".new"
BAD = ".bad"

log = logging.getLogger("aggregator.daemon")


def read(path: Path) -> bytes | None:
    """The content of a file; None if there is no file. Raises OSError.

    What is no regular file, or is too large to be ours, is renamed to *.bad, with a warning: a pipe would never end.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if not S_ISREG(status.st_mode):
        set_aside(path, "it is no regular file")
        return None
    if status.st_size > MOST_BYTES:
        set_aside(path, f"it is larger than {MOST_BYTES} bytes")
        return None
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        return file.read(MOST_BYTES)


class _Versioned(Struct):
    """The version of a file; the files of before there were versions are of the first."""

    version: int = 1


decode_version = msgspec.json.Decoder(_Versioned).decode


def is_newer(path: Path, blob: bytes) -> bool:
    """Tell whether a later version of this program has written a file, which is set aside then.

    What cannot be read as any version is left to whoever reads the file.
    """
    try:
        version = decode_version(blob).version
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    if version > VERSION:
        set_aside(path, f"it is of version {version}, and this program reads no later one than {VERSION}")
    return version > VERSION


def set_aside(path: Path, reason: str) -> None:
    """Rename a file that is of no use to *.bad, so that it can be looked at, and say so."""
    aside = path.with_name(path.name + BAD)
    try:
        path.rename(aside)
    except OSError as error:
        log.warning("%s is left alone: %s; it cannot be renamed: %s", path, reason, error)
    else:
        log.warning("%s is set aside as %s: %s", path, aside.name, reason)


def listed(head: bytes, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """An object in JSON whose last field is an empty list, filled piece by piece.

    So a loop whose thread this is not waits for no more than one piece, and none has to be kept.
    """
    yield head.removesuffix(b"]}")
    comma = b""
    for piece in filter(None, pieces):
        yield comma + piece
        comma = b","
    yield b"]}"


def write(path: Path, pieces: Iterable[bytes]) -> None:
    """Put a file in place, whole or not at all. Raises OSError.

    The unfinished file always has the same name, so that a process that is killed again and again leaves one at most.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + NEW)
    with suppress(FileNotFoundError):
        new.unlink()
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(handle, "wb") as file:
        file.writelines(pieces)
    if path.exists() and not path.is_file():
        set_aside(path, "it is no regular file")
    new.replace(path)


class StateLock:
    """The only daemon that uses a directory of state; the lock ends with the process, however that ends."""

    def __init__(self, state: Path) -> None:
        """Lock it. Raises ConfigError where another process has, naming it, and where it cannot be written to."""
        path = state / LOCK
        self._fd: int | None = None
        try:
            state.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                log.warning("%s: the state directory cannot be locked: %s", path, error.strerror)
                return
            raise ConfigError(f"the state directory {state} cannot be used: {path}: {error.strerror}") from error
        try:
            if not S_ISREG(os.fstat(self._fd).st_mode):
                self.release()
                raise ConfigError(f"the state directory {state} cannot be used: {path} is no regular file")
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _owner(self._fd)
            self.release()
            raise ConfigError(
                f"the state directory {state} is used by another daemon{owner}; give each a `state` of its own"
            ) from None
        with suppress(OSError):  # the number is for people: a full disk keeps nobody from the lock
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another daemon have it."""
        if self._fd is not None:
            os.close(self._fd)


def _owner(handle: int) -> str:
    """The owner of the lock, as far as the file names it."""
    with suppress(OSError):
        number = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
        if number.isdigit():
            return f", process {number}"
    return ""
