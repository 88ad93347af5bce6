"""The settings of the feed: plain values, already checked."""

from pathlib import Path

from msgspec import Struct

from aggregator.feed.access import Token
from aggregator.feed.address import Address, TcpAddress

LOCAL = '"{0}:127.0.0.1:PORT" or "{0}:[::1]:PORT", and come from elsewhere through ssh -L'


class FeedSettings(Struct, frozen=True, kw_only=True):
    """Where subscribers connect, and what they may cost.

    listen: the addresses
    mode: the permissions of a unix socket
    group: its group, by name; null: that of the daemon
    ring: records kept for each client; one that is too slow loses its oldest
    max_clients: clients at once
    hosts: names by which HTTP may be spoken to beside those of this machine
    origins: sites whose pages may read by HTTP, like `https://charts.example`
    deflate: whether a WebSocket is compressed where its client asks for it
    tokens: those of which a client of a port must show one; none: it need not
    tls_certificate: the file of the certificate of all ports, with those between it and its root; null: no TLS
    tls_key: the file of its key
    client_ca: the file of those who sign the certificates that clients must have; null: they need none
    insecure: whether ports may be listened at that other machines reach, without TLS and tokens
    max_clients_per_address: connections to all ports at once from one address (of IPv6: from one /64)
    allow_uids: users who may use a unix socket; with `allow_gids` empty too: all whom its rights let in
    allow_gids: groups likewise
    """

    listen: tuple[Address, ...]
    mode: int = 0o660
    group: str | None = None
    ring: int = 10_000
    max_clients: int = 1000
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    deflate: bool = False
    tokens: tuple[Token, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    insecure: bool = False
    max_clients_per_address: int = 250
    allow_uids: tuple[int, ...] = ()
    allow_gids: tuple[int, ...] = ()

    def refusal(self, address: Address) -> str:
        """Say why the feed does not listen at an address; empty where it does."""
        if not isinstance(address, TcpAddress) or address.is_loopback or self.insecure:
            return ""
        missing = [] if self.tls_certificate else ["TLS (`tls_certificate` and `tls_key`)"]
        missing += [] if self.tokens else ["tokens (`aggregator token` makes one)"]
        if not missing:
            return ""
        return (
            f"{address} is refused: other machines could reach it, and there is no {' and no '.join(missing)}; add "
            f"that, or write {LOCAL.format(address.scheme)}; `insecure = true` lets everybody in as it is"
        )
