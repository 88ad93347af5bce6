"""`aggregator top`: its rows, and its screen as a person uses it."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from msgspec import structs

from aggregator.bus.bus import BusStatus
from aggregator.cli import group
from aggregator.cli.ctl import NoAnswer
from aggregator.cli.top_rows import KEPT, RateHistory, as_json, bars, sheets
from aggregator.daemon.attention import DriftStatus
from aggregator.daemon.process import ProcessStatus
from aggregator.daemon.status import DaemonStatus, ExchangeStatus
from aggregator.feed.status import FeedStatus, SubscriberStatus
from aggregator.ingest.status import RestStatus, ShardStatus
from aggregator.session.status import TopicStatus
from aggregator.sinks.status import SinkStatus


def status(rate: float = 10.0) -> DaemonStatus:
    process = ProcessStatus(
        pid=7, version="0.1", started=1, uptime_s=1, loop="x", lag_ms=5, lag_max_ms=9, memory_bytes=1, open_files=1,
        threads=1, tasks=1,
    )  # fmt: skip
    broken = ShardStatus(
        name="b/main.1",
        topics=1,
        room=1,
        attempts=1,
        failures=1,
        trouble="line \x1b[31mlost",
        dropped=0,
        connections=[],
    )
    return DaemonStatus(
        ts=1,
        process=process,
        bus=BusStatus("e", 1234, 1, 1),
        rest=RestStatus(refused=0, budgets=[], connects=[], resting=[]),
        exchanges=[
            ExchangeStatus(id="alpha", state="running", topics={"live": 3, "stalled": 1}, rate=rate, age_ms=5),
            ExchangeStatus(
                id="beta", state="running", topics={"down": 1}, shards=[broken],
                drift=DriftStatus(kinds=1, counts={"new field": 2}, findings=[]),
            ),
            ExchangeStatus(id="gamma", state="waiting", trouble="its listing cannot be read"),
        ],
        sinks=[SinkStatus(name="files data", type="files", state="running", held=3, written=9)],
        feeds=[FeedStatus(["unix:f"], [SubscriberStatus("unix:pid=1", ["trades:*:*"], 2, 99, 0, 0)], 1, 1, 0, 0, 0)],
        topics=[
            TopicStatus(exchange="alpha", channel="trades", symbol="A/USD", raw_symbol="A", state="stalled", age_ms=9),
            TopicStatus(exchange="beta", channel="book", symbol=None, raw_symbol="B", state="down", reason="line lost"),
        ],
    )  # fmt: skip


def test_rows_say_what_the_status_says() -> None:
    found = as_json(status())
    alpha, beta, gamma = found["exchanges"]
    assert (alpha["fresh"], alpha["others"], alpha["last_ms"], alpha["trouble"]) == (3, 1, 5, "")
    assert (beta["drift"], beta["lines"], beta["trouble"]) == (2, "0/1", "line \\x1b[31mlost")
    assert (gamma["state"], gamma["trouble"]) == ("waiting", "its listing cannot be read")
    assert [topic["topic"] for topic in found["topics"]] == ["trades:alpha:A/USD", "book:beta:B"]
    assert found["sinks"][0]["waiting"] == 3
    assert found["clients"][0]["topics"] == "trades:*:*"
    assert found["records"] == 1234


def test_rates_are_bars_the_greatest_the_highest() -> None:
    assert bars([0, 5, 10]) == "▁▄█" or bars([0, 5, 10]) == "▁▅█"
    assert bars([0, 0]) == "▁▁"
    rates = RateHistory()
    for number in range(KEPT * 2):
        rates.note({"alpha": float(number)})
    assert (len(rates.total), rates.total[-1], len(rates.line("alpha"))) == (KEPT, KEPT * 2 - 1, 20)


def test_a_column_sorts_numbers_before_texts() -> None:
    sheet = sheets(status(), RateHistory())["exchanges"]
    column = sheet.columns.index("last ms")
    assert [row[0] for row in sheet.sorted(column, is_descending=False)] == ["alpha", "beta", "gamma"]
    assert [row[0] for row in sheet.sorted(column, is_descending=True)][-1] == "alpha"


def test_once_prints_what_a_daemon_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []

    def ask(_: Path, request: dict[str, object]) -> bytes:
        asked.append(request)
        return msgspec.json.encode({"status": status(), "ok": True})

    monkeypatch.setattr("aggregator.cli.top.ask", ask)
    said = CliRunner().invoke(group, ["top", "--socket", "c.sock", "--once", "--json"], catch_exceptions=False)
    assert [each["exchange"] for each in json.loads(said.stdout)["exchanges"]] == ["alpha", "beta", "gamma"]
    said = CliRunner().invoke(group, ["top", "--socket", "c.sock", "--once", "--all"], catch_exceptions=False)
    assert "trades:alpha:A/USD\tstalled\t9" in said.stdout
    assert [request.get("topics") for request in asked] == [None, ["*:*:*"]]
    assert CliRunner().invoke(group, ["top", "--json"]).exit_code == 2


@pytest.mark.waits
async def test_a_person_looks_at_the_screen(tmp_path: Path) -> None:
    pytest.importorskip("textual")
    from textual.coordinate import Coordinate
    from textual.widgets import DataTable, Sparkline, Static, TabbedContent

    from aggregator.cli.top_screen import Top

    asked: list[bool] = []
    gone = asyncio.Event()

    def look(is_all: bool) -> DaemonStatus:
        asked.append(is_all)
        if gone.is_set():
            raise NoAnswer("c.sock: Connection refused; is a daemon running?")
        return structs.replace(status(), topics=status().topics * 3) if is_all else status(len(asked) * 10.0)

    top = Top(look, 3600)
    async with top.run_test(size=(140, 30)) as pilot:
        table = top.query_one("#table-exchanges", DataTable)
        assert [str(table.get_cell_at(Coordinate(row, 0))) for row in range(3)] == ["alpha", "beta", "gamma"]
        await pilot.press("s", "s")  # by what is fresh, the most first
        assert str(table.get_cell_at(Coordinate(0, 0))) == "alpha"
        await pilot.press("r")
        assert str(table.get_cell_at(Coordinate(2, 0))) == "alpha"
        await top.look()
        assert list(top.query_one("#rate", Sparkline).data or ()) == [10.0, 20.0]
        await pilot.press("2")
        assert top.query_one(TabbedContent).active == "topics"
        topics = top.query_one("#table-topics", DataTable)
        assert topics.row_count == 2
        await pilot.press("a")
        assert (topics.row_count, asked[-1]) == (6, True)
        for key, name in (("3", "sinks"), ("4", "clients")):
            await pilot.press(key)
            assert top.query_one(TabbedContent).active == name
            assert top.query_one(f"#table-{name}", DataTable).row_count == 1
        gone.set()
        await top.look()
        assert "is a daemon running?" in str(top.query_one("#head", Static).render())
        await pilot.press("1")
        drawn = top.export_screenshot()
        assert "gamma" in drawn
        (tmp_path / "top.svg").write_text(drawn)
        await pilot.press("q")


def test_without_textual_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "textual", None)
    monkeypatch.setitem(__import__("sys").modules, "textual.app", None)
    monkeypatch.delitem(__import__("sys").modules, "aggregator.cli.top_screen", raising=False)
    said = CliRunner().invoke(group, ["top", "--socket", "c.sock"])
    assert (said.exit_code, "pip install 'market-aggregator[top]'" in said.stderr) == (1, True), said.output
