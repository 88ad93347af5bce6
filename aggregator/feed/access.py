"""Access to the feed: tokens, the topics that each may have, and the pauses that follow wrong ones."""

import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from ipaddress import IPv6Address, ip_address

from msgspec import Struct

from aggregator.bus.selection import Glob, Pattern, RecordTopic, Selection, parse_pattern

TOKEN_BYTES = 32  # chance in a token: nobody guesses it, however quick the hash
LONGEST_TOKEN = 512  # characters
HASH = re.compile(r"sha256:[0-9a-f]{64}")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0  # before a wrong token is answered; it doubles with each
FORGET_S = 600.0  # an address has a clean sheet after so long without a wrong token
MOST_PAUSES = 4096  # addresses whose wrong tokens are remembered


class Access:
    """The topics that a client may have."""

    def __init__(self, name: str, topics: Sequence[str] | None) -> None:
        """Allow these patterns; null: everything. Raises BadPattern."""
        self.name = name
        self.topics = None if topics is None else tuple(topics)
        self._patterns = [parse_pattern(text) for text in topics or ()]
        self.selection = None if topics is None else Selection(self._patterns)

    def allows(self, topic: RecordTopic) -> bool:
        """Tell whether this topic is allowed."""
        return self.selection is None or self.selection.wants(topic)

    def covers(self, pattern: Pattern) -> bool:
        """Tell whether all that a pattern can mean is allowed."""
        return self.selection is None or all(
            any(_is_within(pattern, channel, allowed) for allowed in self._patterns) for channel in pattern.channels
        )

    def refusal(self, text: str) -> str:
        """The words about a topic that is not allowed."""
        return f"{text!a:.80} is not among the topics of the token {self.name}: {', '.join(self.topics or ())}"


EVERYTHING = Access("", None)


def _is_within(pattern: Pattern, channel: str, allowed: Pattern) -> bool:
    return (
        channel in allowed.channels
        and _covers(allowed.exchange, pattern.exchange)
        and _covers(allowed.symbol, pattern.symbol)
    )


def _covers(wide: str, narrow: str) -> bool:
    """Tell whether every text that fits `narrow` fits `wide`.

    A `*` of `narrow` is taken for a character that no pattern holds: only a `*` of `wide` can stand for it, and that
    stands for any other text as well.
    """
    return Glob(wide).matches(narrow.replace("*", "\0")) if "*" in wide else wide == narrow


class Token(Struct, frozen=True):
    """A token as the daemon knows it.

    name: its name in the configuration, in logs and in errors
    hash: `sha256:` and 64 digits
    topics: the patterns that its client may have; null: all
    """

    name: str
    hash: str
    topics: tuple[str, ...] | None = None


def new_token() -> str:
    """Make a token, by chance."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def hash_of(token: str) -> str:
    """The hash of a token, as the configuration holds it.

    A slow hash helps where a secret can be guessed. Nobody guesses 256 bits of chance, and a hash that is slow would
    let a stranger keep the daemon busy.
    """
    return f"sha256:{sha256(token.encode('utf-8', 'surrogatepass')).hexdigest()}"


class Gate:
    """The tokens of a feed, and the addresses that wrong ones came from."""

    def __init__(self, tokens: Sequence[Token] = ()) -> None:
        """Know these tokens. Raises BadPattern for a topic of theirs that is none."""
        self._known = [(token.hash.encode(), Access(token.name, token.topics)) for token in tokens]
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how many, and when the last one came

    @property
    def has_tokens(self) -> bool:
        """Tell whether there are tokens at all."""
        return bool(self._known)

    @property
    def unasked(self) -> Access | None:
        """Tell what a client of a port may have without a token: everything where there are none, else nothing."""
        return None if self._known else EVERYTHING

    def find(self, token: str) -> Access | None:
        """Tell what a token allows; null where it is wrong. It takes as long for each token."""
        shown = hash_of(token[:LONGEST_TOKEN]).encode()
        found = None
        for known, access in self._known:
            if hmac.compare_digest(known, shown):
                found = access
        return found if len(token) <= LONGEST_TOKEN else None

    def pause(self, address: str, now: float) -> float:
        """Count a wrong token, and say after how many seconds it is answered; `now` in seconds of the loop."""
        if not address:  # by a unix socket, whose rights have let it in
            return FIRST_PAUSE_S
        origin = origin_of(address)
        count, last = self._wrong.pop(origin, (0, now))
        count = 1 if now - last > FORGET_S else count + 1
        self._wrong[origin] = count, now
        while len(self._wrong) > MOST_PAUSES:
            self._wrong.popitem(last=False)
        return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(count - 1, 10)))


def origin_of(address: str) -> str:
    """The part of an address that tells one client from another: of IPv6 the network, as each has a whole one."""
    try:
        number = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(number, IPv6Address):
        if number.ipv4_mapped is not None:
            return str(number.ipv4_mapped)
        return str(IPv6Address(int(number) >> 64 << 64))
    return address
