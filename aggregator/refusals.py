"""The meaning of an exchange's refusals, for connectors: by the words of a frame, or by an answer's code."""

import re
from collections.abc import Callable, Collection, Mapping
from re import Match, Pattern

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from aggregator.exchange import Meaning, Trouble

LONGEST_REASON = 1000  # characters of a reason that are searched
MS_NS = 1_000_000
BANNED = re.compile(r"banned until (\d{13})\b")
ReadTrouble = Callable[[int, Mapping[str, str], bytes], Trouble | None]

decode_fields = Decoder(dict[str, Raw]).decode
decode_any = Decoder().decode


def named_in(reason: str, pattern: Pattern[str]) -> Match[str] | None:
    """The topic that a pattern finds in an exchange's words; only their beginning is searched, for they may be long."""
    return pattern.search(reason, 0, LONGEST_REASON)


def meaning_of(reason: str, *, final: Collection[str] = (), passing: Collection[str] = ()) -> Meaning:
    """The meaning of a refusal, by words that its reason holds; capitals do not matter.

    >>> meaning_of("60018: BTC-X doesn't exist", final=("doesn't exist",), passing=("too many",))
    'final'
    """
    said = reason.lower()
    if any(words.lower() in said for words in passing):
        return "passing"
    return "final" if any(words.lower() in said for words in final) else "unknown"


def coded(
    code: str,
    words: str = "",
    *,
    within: str = "",
    fine: Collection[str] = (),
    busy: Collection[str] = (),
    until: Pattern[str] | None = None,
) -> ReadTrouble:
    """How answers are read that carry a code and words in two fields of their object, whatever their HTTP status.

    `within` names the field whose object holds the two, where they are not the answer's own. Without `words`, the code
    is all that is said. An answer that is no object, or has no such code, says nothing here. The group of `until` finds
    in the words of a ban the time (ms) at which it ends; such an answer is busy whatever its code.

    >>> coded("code", "msg", fine=("0",), busy=("50011",))(200, {}, b'{"code":"50011","msg":"Too Many Requests"}')
    Trouble(words='50011: Too Many Requests', is_busy=True, wait=None, until=None)
    """

    def read(_: int, __: Mapping[str, str], body: bytes) -> Trouble | None:
        fields = fields_of(body)
        if within:
            fields = fields_of(fields.get(within, b""))
        said = text_of(fields.get(code))
        if said is None or said in fine:
            return None
        told = f"{said}: {text_of(fields.get(words)) or ''}".removesuffix(": ")
        end = None if until is None else named_in(told, until)
        return Trouble(
            told, is_busy=end is not None or said in busy, until=None if end is None else int(end[1]) * MS_NS
        )

    return read


def fields_of(body: bytes | Raw) -> Mapping[str, Raw]:
    """The fields of an answer, unread; none where it is no object."""
    try:
        return decode_fields(body)
    except DecodeError:
        return {}


def text_of(value: Raw | None) -> str | None:
    """A field as text: what a string says, a number's or a truth value's own spelling; None where it is null."""
    if value is None:
        return None
    said = decode_any(value)
    return said if isinstance(said, str) else None if said is None else bytes(value).decode()
