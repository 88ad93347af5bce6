"""Proxies: read from text, chosen for an address, shown without the password; and the route to an exchange."""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import quote, unquote, urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # its stubs know only the one that asks the system too
    getproxies_environment,
    proxy_bypass_environment,
)

from msgspec import Struct

Transport = Literal["auto", "picows", "websockets"]
Scheme = Literal["http", "https", "socks5", "socks5h"]
SCHEMES: tuple[str, ...] = get_args(Scheme)
PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
ENCRYPTED = {"ws": "http", "wss": "https"}  # the environment names proxies by scheme: those of http serve ws
NO_PROXY_AT_ALL = "none"
LONGEST_SECRET = 4096  # characters of a file that holds a proxy


class Proxy(Struct, frozen=True, repr_omit_defaults=True):
    """A proxy. What shows it never shows the password.

    scheme: of "socks5" the names of hosts are resolved here, of all others by the proxy
    """

    scheme: Scheme
    host: str
    port: int
    user: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{'***@' if self.user is not None else ''}{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Proxy({str(self)!r})"

    def url(self, socks: str) -> str:
        """The address as a library takes it, with the password; `socks` is its word for this kind of SOCKS."""
        scheme = socks if self.scheme.startswith("socks") else self.scheme
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.user is None:
            return f"{scheme}://{host}:{self.port}"
        return f"{scheme}://{quote(self.user, safe='')}:{quote(self.password or '', safe='')}@{host}:{self.port}"

    def hide(self, text: str) -> str:
        """A text of some library's without the password, however it is written."""
        for secret in filter(None, {self.password, quote(self.password or "", safe="")}):
            text = text.replace(secret, "***")
        return text


class DialOptions(Struct, frozen=True):
    """How an exchange is reached.

    transport: which library opens WebSockets; "auto": picows wherever it can
    proxy: the one to use, None for none, "environment" for what the usual variables say
    compression: permessage-deflate is asked for where the exchange has it
    """

    transport: Transport = "auto"
    proxy: Proxy | Literal["environment"] | None = "environment"
    compression: bool = False


def parse_proxy(text: str) -> Proxy:
    """A proxy as an operator writes it. Raises ValueError, which repeats nothing of it: it may hold a password."""
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError:
        host = port = None
        parts = urlsplit("")
    if parts.scheme not in SCHEMES or not host or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError(
            f'is not a proxy; write it like "socks5h://user:password@host:1080", with {", ".join(SCHEMES)}'
        )
    user = None if parts.username is None else unquote(parts.username)
    password = None if user is None else unquote(parts.password or "")
    if not f"{user or ''}{password or ''}".isascii():
        raise ValueError("is a proxy whose user or password is not ASCII, which not every proxy takes")
    scheme: Scheme = parts.scheme  # type: ignore[assignment]  # it is one of SCHEMES
    return Proxy(scheme, host, port or PORTS[scheme], user, password)


def find_proxy(text: str) -> Proxy | None:
    """Read the proxy that the configuration names, by itself or as `env:NAME` or `file:PATH`; it may be none.

    Raises ValueError, which says nothing of what it found.
    """
    where, _, place = text.partition(":")
    if where == "env":
        found = os.environ.get(place)
        if not found:
            raise ValueError(f"the environment has no {place or 'name after env:'}")
        return find_proxy_here(found, f"what {place} holds ")
    if where == "file":
        try:
            with Path(place).expanduser().open() as file:
                found = file.read(LONGEST_SECRET).strip()
        except (OSError, RuntimeError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ValueError(f"the file {place} cannot be read: {why}") from None
        return find_proxy_here(found, f"what {place} holds ")
    return find_proxy_here(text, "")


def find_proxy_here(text: str, where: str) -> Proxy | None:
    """A proxy, or None where the text says so; `where` begins the complaint."""
    if text == NO_PROXY_AT_ALL:
        return None
    try:
        return parse_proxy(text)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None


def proxy_of_environment(target: str) -> Proxy | None:
    """The proxy of an address by HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY; none for this machine's own.

    Raises ValueError, without the text, where what they say is no proxy.
    """
    parts = urlsplit(target)
    host = parts.hostname or ""
    proxies: Mapping[str, str] = getproxies_environment()  # lower case goes before upper case
    scheme = ENCRYPTED.get(parts.scheme, parts.scheme)
    text = proxies.get(scheme) or proxies.get("all")
    port = parts.port or PORTS.get(scheme, 80)
    if not text or is_loopback(host) or proxy_bypass_environment(f"{host}:{port}", dict(proxies)):
        return None
    return find_proxy_here(text if "://" in text else f"http://{text}", f"what the environment names for {scheme} ")


def is_loopback(host: str) -> bool:
    """Tell whether an address never leaves this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
