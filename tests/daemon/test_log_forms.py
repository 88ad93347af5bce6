"""The log as the journal, a collector of JSON and a person read it, and what comes again and again."""

import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregator.daemon import logs
from aggregator.daemon.log_forms import LARGEST_ENTRY_BYTES, exchange_of, journal_entry
from aggregator.daemon.repeats import FOLD_S, MOST_LATELY, Lately

pytestmark = pytest.mark.waits

HOSTILE = "\x1b[2J\r\nPRIORITY=0\nMESSAGE=forged\x9b31m\u202e\ud800\x00"


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The journal's socket, which the test plays."""
    path = tmp_path / "socket"
    monkeypatch.setattr(logs, "JOURNAL", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(10)
        yield sock


def fields(entry: bytes) -> dict[str, str]:
    """An entry as the journal reads it."""
    found = {}
    while entry:
        name, _, rest = entry.partition(b"\n")
        length = int.from_bytes(rest[:8], "little")
        found[name.decode()] = rest[8 : 8 + length].decode()
        assert rest[8 + length : 9 + length] == b"\n"
        entry = rest[9 + length :]
    return found


@pytest.mark.usefixtures("log_as_before")
def test_the_journal_gets_fields_and_hostile_text_makes_none(journal: socket.socket) -> None:
    logs.set_up("info", "journal")
    logging.getLogger("aggregator.test").error("kraken/ws-1: it said %s", HOSTILE, exc_info=ValueError(HOSTILE))
    found = fields(journal.recv(1 << 20))
    assert found.pop("CODE_LINE").isdecimal()
    message = found.pop("MESSAGE")
    assert message.startswith(r"kraken/ws-1: it said \x1b[2J\r\nPRIORITY=0\nMESSAGE=forged\x9b31m\u202e\ud800\x00 | ")
    assert message.isprintable()
    assert found == {
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "aggregator",
        "CODE_FILE": __file__,
        "CODE_FUNC": "test_the_journal_gets_fields_and_hostile_text_makes_none",
        "AGGREGATOR_LOGGER": "aggregator.test",
        "AGGREGATOR_EXCHANGE": "kraken",
    }


@pytest.mark.usefixtures("log_as_before")
def test_the_journal_is_found_by_what_standard_error_is(
    journal: socket.socket, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    logs.set_up("info")
    logging.getLogger("aggregator.test").info("feed: by its socket")
    found = fields(journal.recv(1 << 20))
    assert (found["MESSAGE"], "AGGREGATOR_EXCHANGE" in found) == ("feed: by its socket", False)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")  # somebody redirected it
    logs.set_up("info")
    logging.getLogger("aggregator.test").info("by standard error")
    logging.shutdown()
    assert capfd.readouterr().err.endswith(" I aggregator.test: by standard error\n")


@pytest.mark.usefixtures("log_as_before")
def test_json_is_one_object_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    logs.set_up("info", "json")
    logging.getLogger("aggregator.test").warning("kraken: it said %s", HOSTILE)
    logging.getLogger("aggregator.test").error("feed: no", exc_info=ValueError("why"))
    logging.shutdown()
    first, second = map(json.loads, capfd.readouterr().err.splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "warning",
        "logger": "aggregator.test",
        "message": r"kraken: it said \x1b[2J\r\nPRIORITY=0\nMESSAGE=forged\x9b31m\u202e\ud800\x00",
        "exchange": "kraken",
    }
    assert second["message"].startswith("feed: no | ")
    assert second["message"].endswith("ValueError: why")


def test_an_entry_has_room_in_a_datagram() -> None:
    record = logging.makeLogRecord({"name": "a", "levelno": logging.INFO})
    entry = journal_entry("€" * LARGEST_ENTRY_BYTES, record)
    assert len(entry) < LARGEST_ENTRY_BYTES + 1000


@pytest.mark.parametrize(
    ("message", "exchange"),
    [
        ("kraken: live", "kraken"),
        ("kraken/ws-1: closed", "kraken"),
        ("feed: a client", None),
        ("krakens: no", None),
        ("sink kraken: full", None),
        ("", None),
    ],
)
def test_a_message_begins_with_the_exchange_that_it_is_about(message: str, exchange: str | None) -> None:
    assert exchange_of(message) == exchange


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def record(text: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("a", logging.WARNING, "", 1, text, args, None)


def test_a_message_that_comes_again_is_counted_and_told_while_it_goes_on() -> None:
    clock = Clock()
    lately = Lately(clock)
    assert [lately.takes(record("%s: closed", "toy")) for _ in range(4)] == [False, True, True, True]
    assert lately.takes(record("other: closed")) is False
    assert list(lately.due()) == []
    clock.now = FOLD_S
    assert [each.getMessage() for each in lately.due()] == ["toy: closed (again, 3 times in 10 s)"]
    assert lately.takes(record("%s: closed", "toy")) is True, "it goes on"
    assert lately.takes(record("other: closed")) is False, "it was not said lately any more"
    clock.now = 2 * FOLD_S
    assert [each.getMessage() for each in lately.due()] == ["toy: closed (again, 1 times in 10 s)"]
    clock.now = 3 * FOLD_S
    assert list(lately.due()) == []
    assert lately.takes(record("%s: closed", "toy")) is False


def test_at_the_end_all_is_told_and_what_is_remembered_is_bounded() -> None:
    lately = Lately(Clock())
    for number in range(MOST_LATELY + 5):
        lately.takes(record("%d", number))
        lately.takes(record("%d", number))
    assert next(each.getMessage() for each in lately.due(is_end=True)) == "0 (again, 1 times in 0 s)"
    assert lately.takes(record("0")) is False
