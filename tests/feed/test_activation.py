"""Sockets that a service manager has opened; the test plays it."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregator.errors import ConfigError
from aggregator.feed import activation
from aggregator.feed.activation import activated, check_activated
from aggregator.feed.address import TcpAddress, UnixAddress
from aggregator.feed.socket_file import Listener
from aggregator.feed.transports.tcp import listen

pytestmark = pytest.mark.waits


class Manager:
    """Passes sockets to this very process: from the first of a row of free descriptors on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self._count = 0
        monkeypatch.setattr(activation, "FIRST_FD", 200)
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "0")

    def passes(self, sock: socket.socket) -> None:
        os.dup2(sock.fileno(), 200 + self._count)
        self._count += 1
        self._patch.setenv("LISTEN_FDS", str(self._count))
        self._patch.setenv("LISTEN_FDNAMES", ":".join(["aggregator.socket"] * self._count))

    def close(self) -> None:
        os.closerange(200, 200 + self._count)


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    made = Manager(monkeypatch)
    yield made
    made.close()


def unix(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


def test_sockets_are_matched_by_their_addresses(manager: Manager, tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    with unix(path) as at_path, socket.create_server(("127.0.0.1", 0)) as at_port:
        port = at_port.getsockname()[1]
        manager.passes(at_path)
        manager.passes(at_port)
        (tmp_path / "link").symlink_to(tmp_path)
        for place in (path, tmp_path / "link" / "feed.sock"):
            found = activated(UnixAddress(place))
            assert found is not None
            found.close()
        for scheme in ("tcp", "http"):
            with listen(TcpAddress("localhost", port, scheme)) as found:
                assert found.getsockname() == at_port.getsockname()
        assert activated(UnixAddress(tmp_path / "other.sock")) is None
        assert activated(TcpAddress("127.0.0.1", port + 1 if port < 65535 else 1)) is None
        check_activated([UnixAddress(path), TcpAddress("127.0.0.1", port, "http")])


def test_a_socket_that_no_entry_names_is_an_error_that_says_so(manager: Manager, tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    with unix(path) as at_path:
        manager.passes(at_path)
        with pytest.raises(ConfigError) as said:
            check_activated([TcpAddress("127.0.0.1", 1)])
    assert f'has opened unix:{path} ("aggregator.socket"), and no entry of `listen` names it' in str(said.value)
    assert f'write "unix:{path}" there' in str(said.value)


def test_what_is_no_listening_stream_is_an_error_too(manager: Manager, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "feed.sock"))
        manager.passes(sock)
        with pytest.raises(ConfigError, match="no stream to be listened at"):
            check_activated([UnixAddress(tmp_path / "feed.sock")])


def test_sockets_of_another_process_are_not_ours(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unix(tmp_path / "feed.sock") as sock:
        manager.passes(sock)
        monkeypatch.setenv("LISTEN_PID", "1")
        assert activated(UnixAddress(tmp_path / "feed.sock")) is None
        check_activated([])


def test_a_client_waits_while_the_daemon_begins_anew(manager: Manager, tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    with unix(path) as sock:
        manager.passes(sock)
        Listener(path, 0o600, None, given=activated(UnixAddress(path))).close()
        assert path.exists(), "it is the service manager's"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            again = Listener(path, 0o600, None, given=activated(UnixAddress(path)))
            again.socket.setblocking(True)  # noqa: FBT003 - the standard library's own signature
            accepted, _ = again.socket.accept()
            accepted.sendall(b"hello\n")
            assert client.recv(100) == b"hello\n"
            accepted.close()
            again.close()


def test_a_daemon_refuses_to_start_with_a_socket_that_it_does_not_serve(tmp_path: Path) -> None:
    config = tmp_path / "site.toml"
    config.write_text(
        f'state = "{tmp_path}/state"\n[[exchanges]]\nid = "kraken"\nchannels = ["trades"]\nsymbols = ["BTC/USD"]\n'
        f'[feed]\nlisten = ["unix:{tmp_path}/other.sock"]\n'
    )
    passed = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='feed'); "
        "os.execv(sys.executable, [sys.executable, '-m', 'aggregator', 'run', sys.argv[2]])"
    )
    with unix(tmp_path / "feed.sock") as sock:
        done = subprocess.run(
            [sys.executable, "-c", passed, str(sock.fileno()), str(config)],
            pass_fds=[sock.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 78, done.stderr
    assert f'has opened unix:{tmp_path}/feed.sock ("feed"), and no entry' in done.stderr
    assert not (tmp_path / "other.sock").exists()
