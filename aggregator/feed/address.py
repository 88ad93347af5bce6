"""The addresses of a feed: `unix:/run/aggregator/feed.sock`, `tcp:127.0.0.1:8790`, `http:127.0.0.1:8791`."""

from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

LOCALHOST = "localhost"
SCHEMES = ("tcp", "http")  # at a host and a port


class UnixAddress(NamedTuple):
    """The file of a unix socket."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


class TcpAddress(NamedTuple):
    """A host, mostly as a number, and a port; `scheme` says what is spoken there, `tcp` or `http`."""

    host: str
    port: int
    scheme: str = "tcp"

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it; a name may mean any machine, but for `localhost`."""
        try:
            return self.host == LOCALHOST or ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}:{host}:{self.port}"


Address = UnixAddress | TcpAddress


def parse_address(text: str) -> Address:
    """Read an address. Raises ValueError, which says how one is written."""
    scheme, _, rest = text.partition(":")
    if scheme == "unix" and rest and "\0" not in rest:
        return _unix(rest)
    if scheme in SCHEMES:
        return _tcp(text, scheme, rest)
    examples = '"unix:/run/aggregator/feed.sock", "tcp:127.0.0.1:8790" or "http:127.0.0.1:8791"'
    raise ValueError(f"{text!r:.100} is not an address; write {examples}")


def _unix(path: str) -> UnixAddress:
    try:
        found = Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path!r:.100}: {error}") from error
    return UnixAddress(found)


def _tcp(text: str, scheme: str, rest: str) -> TcpAddress:
    host, _, port = rest.rpartition(":")
    is_v6 = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_v6 else host
    is_right = bool(host) and (":" in host) is is_v6 and host.isprintable() and " " not in host
    if not (is_right and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 1 << 16):
        examples = f'"{scheme}:127.0.0.1:8790" or "{scheme}:[::1]:8790"'
        raise ValueError(f"{text!r:.100} is not a host and a port; write {examples}")
    return TcpAddress(host, int(port), scheme)
