"""`aggregator backfill`, over a real socket: faults, kills, doubles, and what a user gets to read."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from click.testing import CliRunner, Result

from aggregator.cli import group
from aggregator.records import Candle, Gap, Trade
from aggregator.research import Recording, coverage_of
from aggregator.research.times import shown
from tests.backfill.toy_exchange import END, REST, START, Toy

pytestmark = pytest.mark.waits
FROM, TO = shown(START), shown(END)


class Exchange:
    """A toy exchange on loopback. `faults` are what it answers instead, in turn; `asked` what it was asked for."""

    def __init__(self) -> None:
        """Listen at any port."""
        self.toy = Toy()
        self.faults: list[tuple[int, bytes, dict[str, str]]] = []
        self.asked: list[str] = []
        self.killed_at: int | None = None  # when so much was asked for, this process is killed
        self.victim: subprocess.Popen[bytes] | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def endpoint(self) -> str:
        return f"{REST}=http://127.0.0.1:{self.server.server_address[1]}/api/v3"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        is_listing = parts.path.endswith("/exchangeInfo")
        if not is_listing:
            self.asked.append(request.path)
            if self.victim is not None and len(self.asked) == self.killed_at:
                self.victim.send_signal(signal.SIGKILL)
                self.victim.wait()
        status, body, headers = 200, self.toy.answer(parts.path, dict(parse_qsl(parts.query))), dict[str, str]()
        if self.faults and not is_listing:
            status, body, headers = self.faults.pop(0)
        try:
            request.send_response(status)
            for name, value in headers.items():
                request.send_header(name, value)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
        except OSError:
            return  # who asked is dead

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    """An exchange that is closed afterwards."""
    made = Exchange()
    yield made
    made.close()


def words(exchange: Exchange, out: Path, *more: str, symbol: str = "BTC/USDT") -> list[str]:
    return ["backfill", "binance", symbol, "--from", FROM, "--to", TO, "--out", str(out), "--endpoint",
            exchange.endpoint, *more]  # fmt: skip


def run(asked: Sequence[str]) -> Result:
    return CliRunner().invoke(group, asked)


def ids(out: Path) -> list[str | None]:
    return [r.id for r in Recording(out, strict=True).records("trades") if isinstance(r, Trade)]


def test_the_past_is_in_files_and_nothing_else_is_said(exchange: Exchange, tmp_path: Path) -> None:
    result = run(words(exchange, tmp_path))
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    count = len(exchange.toy.ids())
    said = f"backfill: binance BTC/USDT: {count} records in 2 files below {tmp_path}; nothing is missing\n"
    assert result.stderr == said
    assert ids(tmp_path) == exchange.toy.ids()
    assert sum(day.covered_ns for day in coverage_of(Recording(tmp_path)).days) == END - START
    again = run(words(exchange, tmp_path))
    assert "it was done before" in again.stderr
    assert ids(tmp_path) == exchange.toy.ids()


def test_limits_errors_garbage_and_half_pages_are_got_over(exchange: Exchange, tmp_path: Path) -> None:
    half = exchange.toy.answer("/historicalTrades", {"limit": "1000"})
    exchange.faults += [
        (429, b'{"code":-1003,"msg":"Too many requests"}', {"Retry-After": "1"}),
        (500, b"oops", {}),
        (200, b"<html>", {}),
        (200, half[: len(half) // 2], {}),
        (502, b"", {}),
    ]
    result = run(words(exchange, tmp_path))
    assert result.exit_code == 0, result.stderr
    assert ids(tmp_path) == exchange.toy.ids()
    for said in ("Too many requests; it is asked again in 1 s", "HTTP 500", "its answer cannot be read"):
        assert said in result.stderr


def test_killed_again_and_again_each_record_is_there_once(exchange: Exchange, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "aggregator", *words(exchange, tmp_path)]
    for at in (3, 7, 9, 11):  # while it looks for the beginning, and while it walks
        exchange.killed_at = at
        exchange.victim = subprocess.Popen(program, stderr=subprocess.DEVNULL)
        exchange.victim.wait()
    exchange.victim = None
    result = run(words(exchange, tmp_path))
    assert result.exit_code == 0, result.stderr
    assert ids(tmp_path) == exchange.toy.ids()


def test_a_week_that_begins_on_the_first_day_is_had(exchange: Exchange, tmp_path: Path) -> None:
    asked = ["backfill", "binance", "BTC/USDT", "--from", "2023-11-06", "--to", "2023-11-20", "--out", str(tmp_path),
             "--endpoint", exchange.endpoint, "--channel", "candles", "--interval", "1w"]  # fmt: skip
    result = run(asked)
    assert result.exit_code == 0, result.stderr
    found = [r for r in Recording(tmp_path).records("candles") if isinstance(r, Candle)]
    assert [shown(r.ts_open) for r in found] == ["2023-11-06T00:00:00Z", "2023-11-13T00:00:00Z"]


def test_candles_and_parquet(exchange: Exchange, tmp_path: Path) -> None:
    result = run(words(exchange, tmp_path, "--channel", "candles", "--parquet"))
    assert result.exit_code == 0, result.stderr
    assert list(tmp_path.glob("type=candle/**/*.parquet"))
    assert not list(tmp_path.glob("2*"))  # no lines beside them
    found = [r for r in Recording(tmp_path).records("candles") if isinstance(r, Candle)]
    assert len(found) == 20
    assert {(c.open, c.base_volume, c.quote_volume) for c in found} == {("1.10", "10.25", "15")}


def test_what_the_exchange_does_not_give_is_in_the_last_line(exchange: Exchange, tmp_path: Path) -> None:
    endpoint = exchange.endpoint.replace("api.binance.com", "api.binance.us")
    asked = [*words(exchange, tmp_path)[:-1], endpoint]
    asked[1] = "binanceus"
    exchange.toy.trades = exchange.toy.trades[-300:]
    result = run(asked)
    assert result.exit_code == 0, result.stderr
    assert f"the exchange does not give {FROM} to " in result.stderr.splitlines()[-1]
    holes = [gap for gap in Recording(tmp_path).records("gap") if isinstance(gap, Gap) and gap.repair == "none"]
    assert [(gap.cause, gap.ts_from) for gap in holes] == [("expired", START)]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"--from": "yesterday"}, 2, "is no moment: write 2026-11-29"),
        ({"--from": "1999-01-01"}, 2, "nothing was traded before 2009-01-03"),
        ({"--from": TO, "--to": FROM}, 2, "write the earlier time behind --from"),
        ({"--to": "2199-01-01"}, 2, "is in the future: write "),
        ({"--channel": "book"}, 2, "is not one of 'trades', 'candles'"),
        ({"--channel": "candles", "--interval": "7m"}, 1, "has no candles of '7m'; there are 1s, 1m"),
        ({"symbol": "BTC/USDC"}, 2, "lists no market called BTC/USDC; did you mean BTC/USDT?"),
        ({"symbol": "dollars"}, 2, "`aggregator symbols binance` lists them"),
        ({"exchange": "binanse"}, 2, "binance"),
        ({"exchange": "itbit"}, 2, "docs/exchanges.md says who does"),
    ],
)
def test_nonsense_is_refused_with_what_to_do(
    exchange: Exchange, tmp_path: Path, change: dict[str, str], code: int, said: str
) -> None:
    asked = words(exchange, tmp_path, symbol=change.get("symbol", "BTC/USDT"))
    asked[1] = change.get("exchange", "binance")
    for name, value in change.items():
        if name in asked:
            asked[asked.index(name) + 1] = value
        elif name.startswith("--"):
            asked += [name, value]
    result = run(asked)
    assert result.exit_code == code, result.stderr
    assert said in re.sub(r"\s+", " ", result.stderr)
    assert not exchange.asked
    assert not list(tmp_path.iterdir())


def test_a_damaged_progress_says_what_to_do(exchange: Exchange, tmp_path: Path) -> None:
    run(words(exchange, tmp_path))
    (path,) = (tmp_path / ".backfill").glob("*.json")
    assert json.loads(path.read_bytes())["is_done"]
    path.write_text("{")
    result = run(words(exchange, tmp_path))
    assert result.exit_code == 1
    assert "remove it, and the backfill begins anew" in result.stderr
