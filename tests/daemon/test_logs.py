"""What an exchange says may stand in the log, and does nothing there."""

import logging

import pytest

from aggregator.daemon.logs import set_up
from aggregator.daemon.printable import printable

HOSTILE = "\x1b[2J\r\nERROR forged\x9b31m\u202e\ud800\x00"


@pytest.mark.parametrize("is_journal", [False, True])
def test_a_message_is_one_printable_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, is_journal: bool
) -> None:
    if is_journal:
        monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    else:
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    set_up("info")
    logging.getLogger("aggregator.test").error("it said %s", HOSTILE, exc_info=ValueError(HOSTILE))
    lines = capsys.readouterr().err.split("\n")
    assert all(line.isprintable() for line in lines)
    assert r"it said \x1b[2J\r\nERROR forged\x9b31m\u202e\ud800\x00" in lines[0]
    assert not any(line.startswith("ERROR") for line in lines)


def test_what_is_printable_stays_as_it_is() -> None:
    assert printable("币安 is fine") == "币安 is fine"
