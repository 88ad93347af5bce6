"""Text of an exchange that would steer a terminal, forge a line or turn words around."""

import io
import json
import logging
from pathlib import Path

import pytest
from rich.console import Console

from aggregator.cli import fail
from aggregator.cli.board import Board
from aggregator.cli.show import show
from aggregator.daemon import log_forms, logs
from aggregator.daemon.printable import printable
from aggregator.errors import BadFrame
from aggregator.ingest.lines import LONGEST_REST_S, retry_after
from aggregator.ingest.listing import LONGEST_NAME, named
from aggregator.records import Health, Instrument, Trade
from aggregator.session.topics import MOST_WORDS, Words

HOSTILE = {
    "\x1b[2J\x1b[31m": r"\x1b[2J\x1b[31m",
    "a\n2026-01-01 00:00:00,000 E aggregator.daemon: forged": r"a\n2026-01-01 00:00:00,000 E aggregator.daemon: forged",
    "\r\x08\x7f": r"\r\x08\x7f",
    "\x9b31m": r"\x9b31m",
    "\u202egnp.exe\u2066": r"\u202egnp.exe\u2066",
    "\u2028\u2029\u0085": r"\u2028\u2029\x85",
    "\ud800": r"\ud800",
    "比特币 ₿ é": "比特币 ₿ é",
    "": "",
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.usefixtures("log_as_before")
@pytest.mark.parametrize("journal", [False, True])
@pytest.mark.parametrize("text", HOSTILE)
def test_a_message_of_the_log_is_one_line(
    text: str, journal: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logs, "JOURNAL", Path("/nowhere"))
    logs.set_up("info", "journal" if journal else "console")
    logging.getLogger("aggregator.toy").warning("toy: %s: closed", text)
    try:
        raise ValueError(text)  # noqa: TRY301 - what is logged is this
    except ValueError:
        logging.getLogger("aggregator.toy").exception("an error of our own")
    logging.shutdown()
    said = capfd.readouterr().err
    lines = said.split("\n")
    assert all(line.isprintable() for line in lines)
    assert f"toy: {HOSTILE[text]}: closed" in lines[0]
    assert not any(line.startswith("2026-01-01") for line in lines)
    assert len(lines) == 3 if journal else all(line.startswith("  ") for line in lines[2:-1])


def test_a_message_of_any_length_is_cut() -> None:
    record = logging.LogRecord("a", logging.WARNING, "", 1, "x" * 10**6, (), None)
    assert len(log_forms.Printable("%(message)s").format(record)) < log_forms.LONGEST + 100


@pytest.mark.parametrize("text", [text for text in HOSTILE if text != "\ud800"])  # which JSON in UTF-8 cannot hold
def test_a_record_for_a_person_is_one_line(text: str) -> None:
    told = {"type": "health", "exchange": text, "symbol": text, "channel": "book", "state": "down", "reason": text}
    line = json.dumps(told | {"ts_recv": 1}).encode()
    assert "\n" not in show(line)
    assert "\x1b[2J" not in show(line)
    for odd in {c for c in text if not c.isprintable()} - {"\x1b"}:
        assert odd not in show(line)
    other = json.dumps({"type": "other", "text": text}, ensure_ascii=False).encode("utf-8", "replace")
    assert "\x1b[31m" not in show(other)


@pytest.mark.parametrize("text", [*HOSTILE, "[red]A[/red]", "[/]"])
def test_the_table_takes_no_markup_and_no_codes(text: str) -> None:
    board = Board()
    board.note(
        [
            Trade(exchange="toy", symbol=f"A{text}", raw_symbol="A", price=f"1{text}", size="1", side="buy", ts_recv=1),
            Health(exchange="toy", symbol=f"A{text}", raw_symbol="A", channel="trades", state="live", ts_recv=1),
        ]
    )
    console = Console(file=io.StringIO(), width=300, color_system=None, emoji=False, highlight=False)
    console.print(board.table(10**9, 300))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(line.isprintable() for line in said.split("\n"))
    assert f"A{printable(text)}" in said


def test_words_without_end_are_told_apart_up_to_a_bound() -> None:
    words = Words()
    for number in range(10 * MOST_WORDS):
        words.tell("odd", f"word {number}")
    assert len(words.told) == len(words.news) == MOST_WORDS + 1
    assert sum(words.told.values()) == 10 * MOST_WORDS
    assert words.told["odd: others"] == 9 * MOST_WORDS


def test_an_exchange_may_ask_for_rest_but_not_for_ever() -> None:
    assert retry_after("5", 0) == 5
    assert retry_after("1e300", 0) == LONGEST_REST_S
    assert retry_after("Fri, 31 Dec 9999 23:59:59 GMT", 0) == LONGEST_REST_S


def test_a_name_is_bounded() -> None:
    named(Instrument(raw_symbol="A" * LONGEST_NAME))
    with pytest.raises(BadFrame, match="is no name") as refused:
        named(Instrument(raw_symbol="A" * 10**6))
    assert len(str(refused.value)) < 2 * LONGEST_NAME


def test_an_error_of_the_command_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    fail("toy: \x1b[31m\nforged")
    assert capsys.readouterr().err == "aggregator: toy: \\x1b[31m\\nforged\n"
