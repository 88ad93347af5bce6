"""The settings of the journal."""

from typing import Annotated

from msgspec import Struct
from pydantic import BeforeValidator, Field

from aggregator.records import DAY_S
from aggregator.sinks.values import Bytes, FilePath, Word, to_seconds, write_bytes, write_seconds

LEAST_SEGMENT_BYTES = 1_000_000

SegmentBytes = Annotated[Bytes, Field(ge=LEAST_SEGMENT_BYTES), Word("size", write_bytes)]
Age = Annotated[float, Field(gt=0, le=3.2e9), BeforeValidator(to_seconds), Word("duration", write_seconds)]


class JournalSettings(Struct, frozen=True, kw_only=True):
    """The stream on disk, from which a client of the feed gets what it has missed: [the journal](journal.md).

    path: the directory; nothing else may write there
    keep_bytes: the files that it may take; the oldest go when they take more
    keep: the oldest go when all their records are older than this, too
    segment_bytes: a file is closed, and compressed, once it has grown to this; at least a megabyte
    """

    path: FilePath
    keep_bytes: Bytes = 20_000_000_000
    keep: Age = float(DAY_S)
    segment_bytes: SegmentBytes = 64_000_000
