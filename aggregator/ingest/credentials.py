"""Where a configuration says that keys are to be found, and how they are read from there without being shown."""

import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from aggregator.errors import ConfigError, nearest
from aggregator.exchange import Credentials, Exchange, Keys

LONGEST_KEY_BYTES = 4096
KINDS = ("file", "env", "credential", "plain")
HOW = 'write "file:PATH", "env:NAME" or "credential:NAME" (of systemd)'

KnownKeys = Callable[[str], Keys | None]  # gives the keys that an exchange's connector declares


class KeyPlace(Struct, frozen=True):
    """The place of one key, as the configuration names it.

    kind: `file`, `env`, `credential` (a file in the directory that systemd gives to a service), or `plain`
    name: the path or the name there; of `plain` the key itself, which nothing shows
    """

    kind: str
    name: str

    def __str__(self) -> str:
        match self.kind:
            case "file":
                return f"the file {self.name}"
            case "env":
                return f"the environment variable {self.name}"
            case "credential":
                return f"the systemd credential {self.name}"
        return "the configuration itself"

    def __repr__(self) -> str:
        return f"KeyPlace({str(self)!r})"


def parse_place(text: object) -> KeyPlace:
    """The place that a configuration names. Raises ValueError, which repeats nothing of it: it may be the key."""
    kind, colon, name = text.partition(":") if isinstance(text, str) else ("", "", "")
    if kind not in KINDS or not colon:
        raise ValueError(f'must say where the key is, not hold it: {HOW}; who insists writes "plain:KEY"')
    if not name:
        raise ValueError(f"names nothing after {kind}:")
    if kind == "credential" and ("/" in name or name in {".", ".."}):
        raise ValueError("must be the name of a credential, without a directory")
    if kind != "plain" and not name.isprintable():
        raise ValueError(f"is no name after {kind}:")
    return KeyPlace(kind, name)


def read_keys(exchange: str, keys: Keys, places: Mapping[str, KeyPlace]) -> tuple[Credentials, list[str]]:
    """The keys, and a warning for each file that others may read.

    Raises ConfigError, which names exchange, field and place of each that cannot be had.
    """
    found: dict[str, str] = {}
    troubles: list[str] = []
    warnings: list[str] = []
    for field in keys.fields:
        place = places.get(field)
        said = f"{exchange}: credentials.{field}"
        if place is None:
            troubles.append(f"{said} ({keys.fields[field]}) is missing")
            continue
        try:
            found[field], is_open = _read(place)
        except ValueError as error:
            troubles.append(f"{said}: {place} {error}")
            continue
        if is_open:
            warnings.append(f"{said}: {place} can be read by everybody on this machine; `chmod o=` it")
    if troubles:
        raise ConfigError("; ".join(troubles))
    return Credentials(found), warnings


def missing_keys(exchange: str, keys: Keys) -> str:
    """The word about keys that the configuration does not name: which, where they come from, how to write them."""
    named = ", ".join(f"{field} ({words})" for field, words in keys.fields.items())
    lines = ", ".join(f'{field} = "file:PATH"' for field in keys.fields)
    return (
        f"{exchange} wants to see keys of an account of yours: {named}, from {keys.page}; "
        f"write credentials = {{ {lines} }} below its [[exchanges]]; docs/configuration.md has the other ways"
    )


def lacking(exchange: Exchange, channels: Collection[str]) -> str | None:
    """A word about what is not gathered of these channels where there are no keys; None where all of it is."""
    if exchange.keys is None:
        return None
    words = missing_keys(exchange.id, exchange.keys)
    if exchange.with_keys == "all":
        return f"{words}; without them nothing is gathered from it"
    had: set[str] = {channel for feed in exchange.feeds if not feed.needs_keys for channel in feed.channels}
    closed = ", ".join(channel for channel in channels if channel not in had)
    return f"{words}; without them it gives no {closed}" if closed else None


def wrong_fields(keys: Keys | None, places: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The names among those of a configuration that an exchange does not know, or that are missing, and why."""
    if keys is None:
        if places:
            yield "", "it takes no keys: leave this out"
        return
    for field in places:
        if field not in keys.fields:
            meant = nearest(field, keys.fields)
            hint = f'; did you mean "{meant}"?' if meant else ""
            yield field, f"is none of its keys; allowed: {', '.join(keys.fields)}{hint}"
    for field, words in keys.fields.items():
        if places and field not in places:
            yield "", f"{field} ({words}) is missing"


def read_place(place: KeyPlace) -> str:
    """The text at a place. Raises ValueError, which says nothing of it."""
    return _read(place)[0]


def _read(place: KeyPlace) -> tuple[str, bool]:
    """A key, and whether everybody may read the file that holds it. Raises ValueError, which says nothing of it."""
    match place.kind:
        case "plain":
            return _checked(place.name), False
        case "env":
            value = os.environ.get(place.name)
            if value is None:
                raise ValueError("is not set")
            return _checked(value), False
        case "credential":
            directory = os.environ.get("CREDENTIALS_DIRECTORY")
            if not directory:
                raise ValueError(
                    f"cannot be had: there is no CREDENTIALS_DIRECTORY, which systemd gives to a service "
                    f"whose unit says LoadCredential={place.name}:FILE"
                )
            return _read_file(Path(directory, place.name))
    return _read_file(Path(place.name))


def _read_file(path: Path) -> tuple[str, bool]:
    try:
        path = path.expanduser()
        # without waiting: a pipe that nobody writes to would keep us for ever
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', None) or 'it is no path'}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is no file: a directory, a pipe or a device")
        blob = os.read(fd, LONGEST_KEY_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    finally:
        os.close(fd)
    try:
        text = blob.decode("ascii")
    except UnicodeDecodeError:
        raise ValueError("holds characters beyond ASCII, which no key has") from None
    return _checked(text.removesuffix("\n").removesuffix("\r")), bool(status.st_mode & stat.S_IROTH)


def _checked(key: str) -> str:
    """A key that can stand in a header. Raises ValueError, which says nothing of it."""
    if not key:
        raise ValueError("is empty")
    if len(key) > LONGEST_KEY_BYTES:
        raise ValueError(f"holds more than {LONGEST_KEY_BYTES} characters, which is no key")
    if not key.isascii():
        raise ValueError("holds characters beyond ASCII, which no key has")
    if not key.isprintable():
        raise ValueError("holds control characters, or more than one line")
    if key != key.strip():
        raise ValueError("begins or ends with a space")
    return key
