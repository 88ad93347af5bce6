"""Addresses of servers, as a configuration file writes them."""

from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from aggregator.sinks.values import names_login, quote


def address(schemes: Collection[str], example: str, *, has_path: bool = False) -> Callable[[str], str]:
    """A check of the address of a server: whoever logs in there has keys of his own, so that no secret is in it.

    schemes: those that it may have; the last of them speaks TLS
    example: a right one, which the message of a wrong one shows
    has_path: whether a path may follow
    """
    *_, secure = schemes

    def check(value: str) -> str:
        if names_login(value):
            raise ValueError("names who logs in: write user and password as keys of their own")
        try:
            parts = urlsplit(value)
            is_whole = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError as error:
            raise ValueError(f"{quote(value)}: {error}") from None
        is_more = parts.query or parts.fragment or (parts.path.strip("/") and not has_path)
        if not is_whole or is_more or not value.isprintable() or " " in value:
            raise ValueError(f'{quote(value)} is no address; write "{example}", or "{secure}://…" for TLS')
        return value

    return check


def addresses(schemes: Collection[str], example: str) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """The same check, of the addresses of several servers."""
    check = address(schemes, example)
    return lambda values: tuple(map(check, values))
