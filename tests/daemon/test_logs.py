"""What an exchange says may stand in the log, and does nothing there."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregator.daemon import logs
from aggregator.daemon.logs import MOST_WAITING, Scribe, ScribeHandler, set_up, to_descriptor
from aggregator.daemon.printable import printable

pytestmark = pytest.mark.waits

HOSTILE = "\x1b[2J\r\nERROR forged\x9b31m\u202e\ud800\x00"


@pytest.mark.usefixtures("log_as_before")
@pytest.mark.parametrize("is_journal", [False, True])
def test_a_message_is_one_printable_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, is_journal: bool
) -> None:
    monkeypatch.setattr(logs, "JOURNAL", Path("/nowhere"))
    set_up("info", "journal" if is_journal else "console")
    logging.getLogger("aggregator.test").error("it said %s", HOSTILE, exc_info=ValueError(HOSTILE))
    logging.shutdown()
    lines = capfd.readouterr().err.split("\n")
    assert all(line.isprintable() for line in lines)
    assert r"it said \x1b[2J\r\nERROR forged\x9b31m\u202e\ud800\x00" in lines[0]
    assert not any(line.startswith("ERROR") for line in lines)


def test_what_is_printable_stays_as_it_is() -> None:
    assert printable("币安 is fine") == "币安 is fine"


class Pipe:
    """A log at a pipe of which one end is ours."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        self.scribe = Scribe(to_descriptor(self.writer))
        self.handler = ScribeHandler(self.scribe)
        self.handler.setFormatter(logging.Formatter("%(message)s"))

    def say(self, text: str) -> None:
        self.handler.emit(logging.LogRecord("a", logging.INFO, "", 1, text, (), None))

    def read(self, *, lines: int) -> list[str]:
        """So many lines of what was written."""
        read = b""
        while read.count(b"\n") < lines:
            read += os.read(self.reader, 65536)
        return read.decode().splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.scribe.flush(5)
    os.close(made.reader)
    os.close(made.writer)


def test_a_log_that_nobody_reads_keeps_nobody_waiting_and_tells_what_is_missing(pipe: Pipe) -> None:
    pipe.say("x" * 100_000)  # more than the pipe takes: the thread waits here
    while pipe.scribe.waiting:
        time.sleep(0.001)
    for number in range(MOST_WAITING + 7):
        pipe.say(f"line {number}")
    assert pipe.scribe.waiting == MOST_WAITING
    begun = pipe.read(lines=MOST_WAITING + 1)
    pipe.say("later")
    said = [*begun[1:], *pipe.read(lines=2)]
    assert said[:MOST_WAITING] == [f"line {number}" for number in range(MOST_WAITING)]
    assert said[MOST_WAITING:] == [
        "the log: 7 messages are missing here, as they could not be written",
        "later",
    ]


def test_the_end_of_the_program_waits_a_moment_for_a_log_that_nobody_reads(pipe: Pipe) -> None:
    for letter in "xyz":  # the first fits into the pipe, the second stops the thread
        pipe.say(letter * 4000)
    pipe.handler.flush()
    assert pipe.scribe.waiting == 1  # it has come back, and the third still waits
    pipe.read(lines=3)


def test_messages_that_a_full_disk_did_not_take_are_counted() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    scribe = Scribe(to_descriptor(full))
    handler = ScribeHandler(scribe)
    reader, writer = os.pipe()
    for number in range(3):
        handler.emit(logging.LogRecord("a", logging.INFO, "", 1, f"lost {number}", (), None))
    scribe.flush(5)
    os.dup2(writer, full)  # there is room again
    handler.emit(logging.LogRecord("a", logging.INFO, "", 1, "kept", (), None))
    scribe.flush(5)
    for fd in (full, writer):
        os.close(fd)
    assert os.read(reader, 1000).decode().splitlines() == [
        "the log: 3 messages are missing here, as they could not be written",
        "kept",
    ]
    os.close(reader)


def test_a_log_that_was_made_non_blocking_is_waited_for(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    for number in range(100):
        pipe.say(f"{number} {'x' * 1000}")
    assert [line.split()[0] for line in pipe.read(lines=100)] == [str(number) for number in range(100)]
