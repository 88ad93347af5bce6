"""Lines of another daemon that are no records of this version, as far as they can be read."""

import msgspec
from msgspec import Struct

from aggregator.errors import UNREADABLE
from aggregator.records import Record
from aggregator.sources.source import LinkBroken


class UnreadLine(Struct):
    """The fields by which a line says what it is about."""

    type: str = ""
    exchange: str | None = None
    symbol: str | None = None
    raw_symbol: str | None = None
    offset: int = 0


_decode_unread = msgspec.json.Decoder(UnreadLine).decode


def unread_record(line: bytes) -> Record:
    """A record that cannot be read, as far as it is known. Raises LinkBroken where a line is none of a daemon."""
    try:
        found = _decode_unread(line)
    except UNREADABLE as error:
        raise LinkBroken(f"what comes there is no feed: a line that is no record ({error})") from None
    return Record(exchange=found.exchange or "", symbol=found.symbol, raw_symbol=found.raw_symbol, offset=found.offset)
