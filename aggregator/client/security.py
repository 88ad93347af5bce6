"""How a client shows who it is, and makes sure of who answers: tokens, and TLS."""

import os
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from aggregator.client.errors import FeedError, LockedOut
from aggregator.client.wire import Place
from aggregator.feed.address import TcpAddress

if TYPE_CHECKING:
    import ssl as tls  # a client that speaks no TLS does not wait for it

PathText = str | PathLike[str]

# The numbers of OpenSSL (X509_V_ERR_…): why a certificate is not taken.
UNKNOWN_CA = frozenset({2, 18, 19, 20, 21})
OUT_OF_DATE = frozenset({9, 10})
OTHER_NAME = frozenset({62, 63, 64})
NO_TLS = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
    "HTTP_REQUEST",
    "UNEXPECTED_MESSAGE",
)


class Tls(Struct, frozen=True, kw_only=True):
    """How TLS is spoken, 1.2 or later; the files are read anew with each connection.

    ca: the file of the certificates that may have signed the feed's; null: those that the system trusts
    certificate: the file of the client's own certificate, for a feed that asks for one
    key: the file of its key; null: it is in the same file
    server_name: the name that the feed's certificate must be for; null: the host of the address
    """

    ca: PathText | None = None
    certificate: PathText | None = None
    key: PathText | None = None
    server_name: str | None = None


TlsContext: TypeAlias = "tls.SSLContext"
Ssl: TypeAlias = "tls.SSLContext | Tls | bool | None"


class Secret:
    """A token. It is in no repr, log or error; one in a file is read anew with each connection."""

    __slots__ = ("_file", "_text")

    def __init__(self, given: PathText) -> None:
        """Hold a token as text, or the path of its file. Raises FeedError where it is none."""
        self._file = None if isinstance(given, str) else Path(given)
        self._text = given if isinstance(given, str) else ""
        self.reveal()

    def __repr__(self) -> str:
        return "Secret(...)"

    def reveal(self) -> str:
        """The token. Raises FeedError where it cannot be read."""
        where = "the token" if self._file is None else str(self._file)
        try:
            text = self._text if self._file is None else self._file.read_text("utf-8").strip()
        except UnicodeDecodeError:
            raise FeedError(f"{where} holds no token: it is no text") from None
        except OSError as error:
            raise FeedError(f"the token cannot be read from {where}: {error.strerror or error}") from None
        if not text or not text.isprintable():
            fault = "of more than one line, or of characters that nobody can print" if text else "empty"
            raise FeedError(f"{where} is {fault}: give the one line that `aggregator token` has printed")
        return text


class Entry:
    """A feed's place, and how a client comes in there."""

    def __init__(self, place: Place, token: PathText | None, ssl: Ssl, *, insecure: bool) -> None:
        """Come in at a place with this token and this TLS. Raises FeedError where these do not go together."""
        self.place = place
        self._secret = None if token is None else Secret(token)
        self._ssl = _wanted(place, ssl)
        may_be_read = self._ssl is None and isinstance(place.address, TcpAddress) and not place.address.is_loopback
        if self._secret is not None and may_be_read and not insecure:
            raise FeedError(
                f"{place.text}: the token would travel there for everyone on the way to read; speak TLS (ssl=True, "
                "--tls), or come through ssh -L, or say so where the way is safe: insecure=True, --insecure"
            )

    @property
    def speaks_tls(self) -> bool:
        """Tell whether TLS is spoken."""
        return self._ssl is not None

    @property
    def server_name(self) -> str | None:
        """The name that the feed's certificate must be for; null where no TLS is spoken."""
        if self._ssl is None:
            return None
        return (self._ssl.server_name if isinstance(self._ssl, Tls) else None) or self.place.host

    def token(self) -> str | None:
        """The token, where there is one. Raises FeedError where it cannot be read."""
        return None if self._secret is None else self._secret.reveal()

    def context(self) -> "TlsContext | None":
        """How TLS is spoken with the next connection; null: not at all. Raises FeedError for files of no use."""
        if not isinstance(self._ssl, Tls):
            return self._ssl
        import ssl as tls

        files = [fspath(path) for path in (self._ssl.ca, self._ssl.certificate, self._ssl.key) if path is not None]
        try:
            context = tls.create_default_context(cafile=self._ssl.ca)
            context.minimum_version = tls.TLSVersion.TLSv1_2
            if self._ssl.certificate is not None:
                context.load_cert_chain(self._ssl.certificate, self._ssl.key, _no_password)
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or error
            raise FeedError(f"TLS cannot be had from {', '.join(files)}: {said}") from None
        return context

    # --- reasons

    def unreachable(self, error: OSError) -> FeedError:
        """The reason why nobody has answered, in words that say what to do."""
        import ssl as tls

        if isinstance(error, tls.SSLError):
            return self._refused(error)
        text = self.place.text
        if isinstance(error, FileNotFoundError):
            return FeedError(f"{text} is not there: does the daemon run, with a feed at this path?")
        if isinstance(error, TimeoutError) and not error.errno:
            return FeedError(f"{text} does not answer")
        hint = ""
        if self.speaks_tls and isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
            hint = "; it may speak no TLS: leave that out"
        number = error.errno or 0  # it is negative where a name does not resolve
        said = os.strerror(number) if number > 0 else error
        return FeedError(f"cannot connect to {text}: {said}{hint}")

    def _refused(self, error: "tls.SSLError") -> FeedError:
        """The reason why TLS has not begun, or has ended."""
        import ssl as tls

        text, reason = self.place.text, error.reason or str(error)
        if isinstance(error, tls.SSLCertVerificationError):
            return LockedOut(f"{text} is not trusted: {self._distrust(error)}")
        if any(word in reason for word in NO_TLS):
            return LockedOut(f"{text} does not speak TLS: leave that out, and write http:// or ws:// for a WebSocket")
        if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason or "HANDSHAKE" in reason):
            return LockedOut(
                f"{text} asks for a certificate of the client's own, or does not take this one ({reason}): "
                "give ssl=Tls(certificate=…), or --cert FILE, signed by what its client_ca names"
            )
        return FeedError(f"cannot connect to {text}: TLS does not begin: {reason}")

    def _distrust(self, error: "tls.SSLCertVerificationError") -> str:
        why = error.verify_message
        if error.verify_code in OTHER_NAME:
            return (
                f"its certificate is not for {self.server_name}; write a name that it is for, in the address or as "
                "ssl=Tls(server_name=…)"
            )
        if error.verify_code in UNKNOWN_CA:
            return (
                f"nobody that is trusted has signed its certificate ({why}); name the file of who has: "
                "ssl=Tls(ca=…), or --ca FILE"
            )
        if error.verify_code in OUT_OF_DATE:
            return f"{why}; look at its tls_certificate, and at this machine's clock"
        return why

    @property
    def advice(self) -> str:
        """The advice where something answers at a port and does not greet."""
        if self.place.host is None:
            return ""
        if self._ssl is None:
            return "; if it speaks TLS, give ssl=True, or --tls"
        if isinstance(self._ssl, Tls) and self._ssl.certificate is None:
            return "; it may ask for a certificate of the client's own: give ssl=Tls(certificate=…), or --cert FILE"
        return ""

    def ended(self, error: OSError) -> FeedError | None:
        """The reason why reading fails, where it is another than a cut connection."""
        import ssl as tls

        refusal = self._refused(error) if isinstance(error, tls.SSLError) else None
        return refusal if isinstance(refusal, LockedOut) else None


def _wanted(place: Place, ssl: Ssl) -> "TlsContext | Tls | None":
    """How TLS is to be spoken at a place. Raises FeedError where that contradicts the address."""
    if not ssl:
        if place.is_tls and ssl is False:
            raise FeedError(f"{place.text} means TLS, and ssl=False none: leave one of them out")
        return Tls() if place.is_tls else None
    if place.host is None:
        raise FeedError(f"{place.text}: a unix socket speaks no TLS: leave ssl out")
    if place.is_tls is False:
        raise FeedError(f"{place.text} means no TLS: write wss:// or https:// for it")
    if ssl is True:
        return Tls()
    import ssl as tls

    if isinstance(ssl, tls.SSLContext) and ssl.minimum_version < tls.TLSVersion.TLSv1_2:
        raise FeedError("ssl: this context would speak TLS before 1.2: set its minimum_version to TLSVersion.TLSv1_2")
    return ssl


def _no_password() -> str:
    """Refuse a key that wants a password, which nobody is there to type."""
    raise ValueError("the key is locked by a password: give one that is not")
