"""The journal as a sink: it takes each batch as it is published, and the bus then has a history."""

import logging
import os

from aggregator.errors import ConfigError
from aggregator.sinks.directory import check_directory, lock_directory
from aggregator.sinks.journal.blocks import AnotherFormat
from aggregator.sinks.journal.journal import Journal
from aggregator.sinks.journal.settings import JournalSettings
from aggregator.sinks.sink import Context, Sink, Writer

log = logging.getLogger("aggregator.sinks.journal")


async def open_journal(settings: JournalSettings, context: Context) -> Writer:
    """Take up what is there. Raises ConfigError where the directory cannot be had, or is of another version."""
    check_directory(settings.path, "the journal")
    try:
        root = lock_directory(settings.path)
    except OSError as error:
        raise ConfigError(f"the journal cannot be written below {settings.path}: {error.strerror}") from error
    journal = Journal(settings, context, root)
    try:
        await journal.begin_life()
    except (AnotherFormat, OSError) as error:
        os.close(root)
        raise ConfigError(f"the journal at {settings.path} cannot be taken up: {error}") from error
    context.bus.history = journal
    found = journal.status()
    log.info("journal: %d files of %d bytes are at %s", found.segments, found.bytes, settings.path)
    return journal


SINK = Sink(
    "journal",
    JournalSettings,
    open_journal,
    unique="type",
    example={"path": "/var/lib/aggregator/journal"},
    has_queue=False,
    is_table=True,
    is_recording=True,
    starts_first=True,
)
