"""The certificate of the feed's ports, read anew when its files change; connections that are there keep theirs."""

import logging
import ssl
from pathlib import Path

from aggregator.errors import ConfigError

Stamp = tuple[tuple[int, int, int], ...]  # number, size and time of writing of each file

log = logging.getLogger("aggregator.feed")


class Certificates:
    """The certificate that ports show, and those of clients that they take."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        """Read the files. Raises ConfigError where they are of no use."""
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._paths = [path for path in (certificate, key, client_ca) if path is not None]
        try:
            self._stamp = self._look()
            self._context = self._read()
        except (OSError, ValueError) as error:
            names = ", ".join(map(str, self._paths))
            raise ConfigError(f"feed: TLS cannot be had from {names}: {error}") from None

    def context(self) -> ssl.SSLContext:
        """Give what a new connection is to be shown. Files that are of no use leave it as it is."""
        try:
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._context = self._read()
                log.info("feed: the certificate was read anew from %s", self._certificate)
        except (OSError, ValueError) as error:
            log.warning("feed: the certificate that was read before stays: %s: %s", self._certificate, error)
        return self._context

    def _look(self) -> Stamp:
        states = [path.stat() for path in self._paths]
        return tuple((state.st_ino, state.st_size, state.st_mtime_ns) for state in states)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.load_cert_chain(self._certificate, self._key, _no_password)
        if self._client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._client_ca)
        return context


def _no_password() -> str:
    """Refuse a key that wants a password, which nobody is there to type."""
    raise ValueError("the key is locked by a password: give one that is not")
