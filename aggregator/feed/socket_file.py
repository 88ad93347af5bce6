"""The socket file: its rights stand before anyone can connect; a dead daemon's is taken over, a live one's never."""

import errno
import os
import socket
import stat
from contextlib import suppress
from grp import getgrnam
from pathlib import Path

from aggregator.errors import ConfigError

BACKLOG = 512


class Listener:
    """A listening unix socket and its file."""

    def __init__(
        self, path: Path, mode: int, group: str | None, name: str = "feed", given: socket.socket | None = None
    ) -> None:
        """Listen at `path`. Raises ConfigError, in which it is called `name`, when that cannot be.

        given: a socket that listens there already, whose file and rights are somebody else's matter
        """
        self.path = path
        self._name = name
        self._file: tuple[int, int] | None = None
        if given is not None:
            self.socket = given
            self.socket.setblocking(False)  # noqa: FBT003 - the standard library's own signature
            return
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        try:
            self._bind()
            self._file = self._identity()
            self._give_rights(mode, group)  # before anyone can connect
            self.socket.listen(BACKLOG)
        except OSError as error:
            self.socket.close()
            raise ConfigError(f"{self._name}: cannot listen at {path}: {error.strerror or error}") from error
        except ConfigError:
            self.socket.close()
            raise

    def _bind(self) -> None:
        try:
            self.socket.bind(str(self.path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            self._remove_stale()
            self.socket.bind(str(self.path))

    def _remove_stale(self) -> None:
        status = self.path.lstat()
        if not stat.S_ISSOCK(status.st_mode):
            raise ConfigError(f"{self._name}: {self.path} is there and is no socket: remove it, or set another path")
        if status.st_uid != os.geteuid():
            raise ConfigError(f"{self._name}: {self.path} is another user's: remove it, or set another path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # noqa: FBT003 - as above
            try:
                probe.connect(str(self.path))
            except (ConnectionRefusedError, FileNotFoundError):  # nobody listens
                self.path.unlink(missing_ok=True)
                return
            except BlockingIOError:  # somebody does, and is busy
                pass
        raise ConfigError(f"{self._name}: another daemon listens at {self.path}: stop it, or set another path")

    def _give_rights(self, mode: int, group: str | None) -> None:
        if group is not None:
            try:
                os.chown(self.path, -1, getgrnam(group).gr_gid)
            except KeyError:
                self.close()
                raise ConfigError(f"{self._name}: {group!r} is not a group of this machine") from None
            except PermissionError:
                self.close()
                raise ConfigError(
                    f"{self._name}: {self.path} cannot be given to the group {group!r}: join it first"
                ) from None
        self.path.chmod(mode)

    def _identity(self) -> tuple[int, int]:
        status = self.path.lstat()
        return status.st_dev, status.st_ino

    def close(self) -> None:
        """Listen no more, and remove the file if it is still ours."""
        self.socket.close()
        if self._file is None:
            return
        with suppress(OSError):
            if self._identity() == self._file:
                self.path.unlink()
