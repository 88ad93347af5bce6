"""TLS of sinks that speak to servers: 1.2 or later, by the files that a configuration names."""

import ssl
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationInfo


def tls_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """How TLS is spoken.

    ca: the certificates that may have signed the server's; null: those that the system trusts
    certificate: our own, for a server that asks for one
    key: its key; null: it is in the same file

    Raises OSError, which names the files.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            context.load_cert_chain(certificate, key, _no_password)
    except (OSError, ValueError) as error:
        files = [str(path) for path in (ca, certificate, key) if path is not None]
        said = getattr(error, "strerror", None) or error
        raise OSError(f"TLS cannot be had from {', '.join(files)}: {said}") from error
    return context


def only_with(scheme: str, key: str) -> Callable[[Path | None, ValidationInfo], Path | None]:
    """A check of the last of the settings `ca`, `certificate` and `key`: they are of use where TLS is spoken.

    scheme: begins an address where it is, like `"amqps://"`
    key: the setting that holds the address
    """

    def check(value: Path | None, info: ValidationInfo) -> Path | None:
        is_spoken = key not in info.data or info.data[key].startswith(scheme)
        return _checked(value, info, f"{scheme} in `{key}`", is_spoken=is_spoken)

    return check


def where_spoken(value: Path | None, info: ValidationInfo) -> Path | None:
    """The same check, where a setting `tls` says whether it is."""
    return _checked(value, info, "`tls = true` beside them", is_spoken=info.data.get("tls") is not False)


def _checked(value: Path | None, info: ValidationInfo, how: str, *, is_spoken: bool) -> Path | None:
    has_certificate = info.data.get("certificate") is not None
    if value is not None and not has_certificate:
        raise ValueError("needs a certificate")
    if (value is not None or has_certificate or info.data.get("ca") is not None) and not is_spoken:
        raise ValueError(f"ca, certificate and key are of TLS: write {how}")
    return value


def _no_password() -> str:
    """Refuse a key that wants a password, which nobody is there to type."""
    raise ValueError("the key is locked by a password: give one that is not")
