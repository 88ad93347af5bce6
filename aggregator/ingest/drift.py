"""Drift: what an exchange sends that it has never sent before, and what it sends no more, by the names of the fields.

Parsers ignore fields that they do not know, so a changed API shows only where a field that is read is gone. Here one
frame a second of each connection is decoded without types, and its fields are compared with those that frames of its
kind have always had. The kind is what a frame says of itself in words (`"e":"trade"`), without the names of markets.
What is normal, with all the fields that nobody reads, is learnt from the first minutes and kept for the next start.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Literal

import orjson
from msgspec import Struct

from aggregator.ingest.listing import letters
from aggregator.records import SECOND_NS

LEARN_NS = 300 * SECOND_NS  # all that comes within this time after the first frame is normal
SEEN = 20  # frames of a kind, before its fields are taken for all that it has
MISSING = 3  # frames in a row without a field that all had before: it is gone
MOST_KINDS = 300  # so many of one exchange
MOST_FIELDS = 1000  # so many of one kind
MOST_FINDINGS = 100  # so many are told
LARGEST_BYTES = 2**20  # a larger frame is not looked at: it takes too long to decode
ELEMENTS = 3  # so many of a list are looked at
MOST_KEYS = 64  # an object of more keys is a map: they are data
DEEPEST = 12
LONGEST_EXAMPLE = 500  # characters
LONGEST_WORD = 64  # characters of a frame's words
# Names of fields in which frames say what they are.
WORDS = frozenset({
    "action", "arg", "cast", "ch", "chan", "channel", "channelname", "code", "cmd", "data_type", "datatype", "e",
    "event", "eventtype", "feed", "kind", "m", "message", "messagetype", "method", "mt", "msg_type", "msgtype", "n",
    "op", "response_type", "s_type", "stream", "subject", "subscription", "t", "table", "tag", "topic", "type",
})  # fmt: skip
# Words of answers to what we ask, and of what keeps a line awake: a parser may well read nothing from such a frame.
ANSWERS = frozenset({
    "ack", "connected", "heartbeat", "hb", "info", "ok", "ping", "pong", "subscribe", "subscribed", "subscriptions",
    "success", "unsubscribe", "unsubscribed", "welcome",
})  # fmt: skip
BETWEEN = tuple(
    map(re.compile, (r"([:@~|$ ,]+)", r"(\.+)", r"(/+)", r"(-+)", r"(_+)"))
)  # characters between the parts of a word
IS_WORD = re.compile(r"[A-Za-z/][^{}\[\]\"]*")
NUMBER = re.compile(r"-?[0-9]+([.,][0-9]+)?(e[-+]?[0-9]+)?", re.IGNORECASE)
BEGINNING = re.compile(rb"[0-9]*(?=[\[{])")  # protocols over others put numbers before their JSON

What = Literal["new field", "missing field", "unknown frame", "unread frame"]


class DriftFinding(Struct):
    """A difference from what an exchange has always sent.

    what: `new field`; `missing field`: every frame of its kind had it before; `unknown frame`: no frame of its kind
        came before, and nothing was read from it; `unread frame`: it could not be read, `reason` says why
    kind: the words by which such frames say what they are; of an answer by REST its address
    field: its place in the frame, as `data[].px`; null: the whole frame is meant
    channels: those of the records that such frames have given
    since: when it was seen first (ns)
    latest: when it was seen last (ns); of a missing field the first
    count: frames in which it was seen, of those that were looked at
    example: the first such frame, or its beginning
    reason: why it could not be read; null: it could
    """

    what: What
    kind: str
    field: str | None
    channels: list[str]
    since: int
    latest: int
    count: int
    example: str
    reason: str | None = None

    @property
    def words(self) -> str:
        """It in a few words."""
        of = f"frames of {self.kind or 'no name'}" + (f" ({', '.join(self.channels)})" if self.channels else "")
        match self.what:
            case "new field":
                return f"`{self.field}` is new in {of}"
            case "missing field":
                return f"`{self.field}` is missing from {of}, which all had it before"
            case "unknown frame":
                return f"{of} have never come before, and nothing is read from them"
        return f"{of} cannot be read: {self.reason}"


class KnownField(Struct):
    """A field that a kind of frames has.

    is_always: whether every frame has had it
    absent: how many frames in a row have not had it
    is_empty: whether it has been null, or an empty list or object, ever since: what it holds once it does is not new
    """

    is_always: bool
    absent: int = 0
    is_empty: bool = False


class KnownKind(Struct):
    """A kind of frames: how many were looked at, the channels of the records that they gave, and their fields."""

    seen: int = 0
    channels: set[str] = set()
    fields: dict[str, KnownField] = {}


class Normal(Struct):
    """All that an exchange is known to send.

    version: of the file in which it is kept
    began: when the first frame was looked at (ns); 0: none was
    kinds: by what frames say of themselves
    """

    version: int = 1
    began: int = 0
    kinds: dict[str, KnownKind] = {}


class Drift:
    """The frames of one exchange, compared with what is normal."""

    def __init__(self, normal: Normal | None = None, is_market: Callable[[str], bool] = lambda _: False) -> None:
        """Begin with what is known.

        is_market: whether a text, in capital letters and digits alone, is the name of a market
        """
        self.normal = normal or Normal()
        self.findings: dict[tuple[What, str, str | None], DriftFinding] = {}
        self.counts: Counter[What] = Counter()  # findings, those too that are not kept
        self.is_market = is_market

    def see(
        self,
        frame: bytes,
        now: int,
        *,
        channels: Collection[str] = (),
        is_understood: Callable[[], bool] = lambda: True,
        unread: str | None = None,
        place: str = "",
    ) -> None:
        """Look at a frame.

        now: by the wall clock (ns)
        channels: of the records that it gave
        is_understood: whether anything was read from it; asked where its kind is new, and it gave no record
        unread: why it could not be read; null: it could
        place: the name of its kind, where it says none itself
        """
        self.normal.began = self.normal.began or now
        shape = self._shape(frame)
        if shape is None:
            if unread is not None:
                self._find("unread frame", place, None, frame, now, channels, unread)
            return
        name = " ".join(filter(None, (place, *sorted(shape.words))))
        kind, is_learning = self.normal.kinds.get(name), now - self.normal.began < LEARN_NS
        if unread is not None:
            self._find("unread frame", name, None, frame, now, kind.channels if kind else channels, unread)
        if kind is None:
            if len(self.normal.kinds) >= MOST_KINDS:
                return
            is_answer = not ANSWERS.isdisjoint(map(str.lower, shape.words))
            if unread is None and not is_learning and not channels and not is_answer and not is_understood():
                self._find("unknown frame", name, None, frame, now, channels)
            if unread is not None:
                return  # good frames alone say what is normal
            kind = self.normal.kinds[name] = KnownKind()
        elif (what := ("unknown frame", name, None)) in self.findings and not channels:
            self._find(*what, frame, now, channels)  # type: ignore[arg-type]
        kind.channels.update(channels)
        is_known = kind.seen >= SEEN and not is_learning
        self._compare(kind, name, shape, frame, now, is_known=is_known)
        kind.seen += 1

    def place(self, address: str) -> str:
        """An address without the names of markets and without numbers."""
        return "/".join("*" if self._is_data(part) else part for part in address.split("/"))

    def _compare(self, kind: KnownKind, name: str, shape: "_Shape", frame: bytes, now: int, *, is_known: bool) -> None:
        """Find the fields that are new, and those that are gone; is_known: whether the kind is known well enough."""
        new = [path for path in shape.paths if path not in kind.fields]
        holders = {parent for path in new for parent in _parents(path)} & kind.fields.keys()
        shown = {path for path in holders if kind.fields[path].is_empty}
        gone = [path for path, field in kind.fields.items() if shape.lacks(path, field, is_known=is_known)]
        for path in islice(new, max(0, MOST_FIELDS - len(kind.fields))):
            kind.fields[path] = KnownField(is_always=kind.seen == 0, is_empty=path in shape.empty)
            if is_known and not _has_parent(path, new) and not _has_parent(path, shown):
                self._find("new field", name, path, frame, now, kind.channels)
        for path in shown:
            kind.fields[path].is_empty = False
        for path in gone:
            kind.fields[path].is_always = False
            if not _has_parent(path, gone):
                self._find("missing field", name, path, frame, now, kind.channels)
        for found in self.findings.values():
            if found.what == "new field" and found.kind == name and found.field in shape.paths and found.latest < now:
                found.latest, found.count = now, found.count + 1

    def _find(
        self,
        what: What,
        kind: str,
        field: str | None,
        frame: bytes,
        now: int,
        channels: Collection[str],
        reason: str | None = None,
    ) -> None:
        found = self.findings.get((what, kind, field))
        if found is not None:
            found.latest, found.count = now, found.count + 1
            return
        self.counts[what] += 1
        if len(self.findings) >= MOST_FINDINGS:
            return
        example = frame[: LONGEST_EXAMPLE * 4].decode("utf-8", "backslashreplace")[:LONGEST_EXAMPLE]
        self.findings[what, kind, field] = DriftFinding(
            what, kind, field, sorted(channels), now, now, 1, example, reason
        )

    def _shape(self, frame: bytes) -> "_Shape | None":
        """A frame's fields and words; null where it is no JSON, or too large."""
        if len(frame) > LARGEST_BYTES:
            return None
        try:
            said = orjson.loads(frame[len(match[0]) :] if (match := BEGINNING.match(frame)) else frame)
        except ValueError:
            return None
        shape = _Shape()
        self._walk(said, "", shape, 0)
        return shape

    def _walk(self, value: object, path: str, shape: "_Shape", depth: int) -> None:
        if depth > DEEPEST:
            return
        if value is None or value in ({}, []):
            shape.empty.add(path)
        elif isinstance(value, dict):
            self._walk_fields(value, path, shape, depth)
        elif isinstance(value, list):
            for inner in value[:ELEMENTS]:
                self._walk(inner, f"{path}[]", shape, depth + 1)
            if depth == 0:  # a list may say first or last what it is
                for inner in (value[0], *value[-2:]):
                    shape.say(self._word(inner))

    def _walk_fields(self, fields: dict[str, object], path: str, shape: "_Shape", depth: int) -> None:
        is_map = len(fields) > MOST_KEYS
        is_in_list = "[]" in path.removeprefix("[]")  # there it is data that say something
        for key, inner in islice(fields.items(), ELEMENTS if is_map else None):
            name = "*" if is_map or self._is_data(key) else key
            place = f"{path}.{name}" if path else name
            shape.paths.add(place)
            if not is_in_list and key.lower() in WORDS:
                shape.say(self._word(inner))
            self._walk(inner, place, shape, depth + 1)

    def _is_data(self, key: str) -> bool:
        return bool(NUMBER.fullmatch(key)) or self.is_market(letters(key).upper())

    def _word(self, value: object) -> str:
        """A word without the names of markets and without numbers; empty where it is none."""
        is_word = isinstance(value, str) and len(value) <= LONGEST_WORD and IS_WORD.fullmatch(value)
        return self._without_data(str(value), 0) if is_word else ""

    def _without_data(self, text: str, level: int) -> str:
        if self._is_data(text):
            return "*"
        if level == len(BETWEEN):
            return text
        return "".join(self._without_data(part, level + 1) for part in BETWEEN[level].split(text))


class _Shape:
    """A frame's fields, those of them that are empty, and its words."""

    __slots__ = ("empty", "paths", "words")

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.empty: set[str] = set()
        self.words: set[str] = set()

    def say(self, word: str) -> None:
        """Note a word, unless it is only the name of a market, or a number."""
        if word.strip("*"):
            self.words.add(word)

    def lacks(self, path: str, field: KnownField, *, is_known: bool) -> bool:
        """Tell whether a field that was always there has been missing for long enough to say so."""
        if path in self.paths:
            field.is_always = field.is_always and not field.absent
            field.absent = 0
        elif field.is_always and not self._is_hidden(path):
            field.absent += 1
            field.is_always = is_known
        return field.is_always and field.absent >= MISSING

    def _is_hidden(self, path: str) -> bool:
        """Tell whether a field cannot be there, because what would hold it is empty or not there itself."""
        return any(parent in self.empty or (parent and parent not in self.paths) for parent in _parents(path))


def _parents(path: str) -> Iterator[str]:
    """The places that hold a field, from the inside: of `a[].b` these are `a`, and the whole frame."""
    while path:
        path = path.rpartition(".")[0].rstrip("[]")
        yield path


def _has_parent(path: str, among: Collection[str]) -> bool:
    return any(parent in among for parent in _parents(path) if parent)
