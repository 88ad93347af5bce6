"""`aggregator capture` and `aggregator replay`: what a live run heard is kept, and gives the same records again."""

import asyncio
import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from msgspec import Struct

from aggregator.bus.bus import Bus
from aggregator.capture.line import CaptureLine
from aggregator.capture.reading import read_capture
from aggregator.capture.recorder import MOST_UNWRITTEN_BYTES, Recorder
from aggregator.cli.pace import ReadingPace
from aggregator.cli.replay import Player, reader
from aggregator.daemon.running_sinks import RunningSinks
from aggregator.errors import BadFrame, SessionError
from aggregator.exchange import Address, Request
from aggregator.ingest.lines import Line, LineListener
from aggregator.ingest.network import Answer, Network
from aggregator.records import Trade
from aggregator.session.moment import Now
from tests.support.hurry import hurried, seconds

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "aggregator"]
IDS = ("binance", "coinbaseexchange", "kraken", "okx")
MARKET = {"trade", "book_snapshot", "book_delta", "bbo", "ticker", "candle"}
OWN = {"ts_recv", "offset", "conn", "source", "flags"}  # fields that say how a record came, not what the exchange said
NOW = Now(1_700_000_000_000_000_001, 5)
PATIENCE = 20.0  # seconds; nothing here takes nearly as long

Row = dict[str, object]


def until(condition: Callable[[], object], *, what: str) -> None:
    """Wait for another process to make something true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, cwd=ROOT, timeout=60, check=False)


def rows(data: bytes) -> list[Row]:
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


class Captured(Struct):
    """A live run that was captured: what it printed, its captures, and what it said."""

    printed: list[Row]
    paths: dict[str, Path]
    log: str

    def lines(self, id: str) -> list[CaptureLine]:
        found = [line for _, line in read_capture(self.paths[id])]
        assert not [line for line in found if isinstance(line, BadFrame)]
        return found  # type: ignore[return-value]


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    """All simulated exchanges for as long as it takes that every kind of record has come."""
    directory = tmp_path_factory.mktemp("capture")
    config, out, printed = directory / "daemon.toml", directory / "captures", directory / "printed.ndjson"
    options = ["--simulate", ",".join(IDS), "--port", "0", "--rate", "400", "--config-out", str(config)]
    sandbox = subprocess.Popen([*PROGRAM, "sandbox", *options], stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert sandbox.stderr is not None
    try:
        assert sandbox.stderr.readline().startswith("sandbox: serving")
        config.write_text(f'state = "{directory}/state"\n{config.read_text()}')
        log = capture(config, out, printed)
    finally:
        sandbox.terminate()
        sandbox.communicate(timeout=PATIENCE)
    paths = {path.name.split("-")[0]: path for path in out.iterdir()}
    return Captured(rows(printed.read_bytes()), paths, log)


def capture(config: Path, out: Path, printed: Path) -> str:
    """Run until every kind of record has come, stop, and give what was said."""
    wanted = {(id, kind) for id in IDS for kind in MARKET} - {("coinbaseexchange", "candle"), ("kraken", "bbo")}

    def has_all() -> bool:
        found = [json.loads(line) for line in printed.read_bytes().split(b"\n")[:-1]]
        return wanted <= {(row["exchange"], row["type"]) for row in found}

    with printed.open("wb") as file:
        command = [*PROGRAM, "capture", "--config", str(config), "--out", str(out)]
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE, cwd=ROOT)
        try:
            until(has_all, what="records of every kind from every exchange")
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=PATIENCE)[1].decode()
        finally:
            process.kill()
    assert process.returncode == 0, said
    return said


# --- capture ----------------------------------------------------------------------------------------------------------


def test_each_exchange_has_a_capture_of_its_own(captured: Captured) -> None:
    assert set(captured.paths) == set(IDS)
    assert all(path.name.endswith("Z.jsonl.zst") for path in captured.paths.values())
    assert "Traceback" not in captured.log


@pytest.mark.parametrize("id", IDS)
def test_a_capture_holds_connections_frames_and_answers(captured: Captured, id: str) -> None:
    lines = captured.lines(id)
    opened = {line.conn: line for line in lines if line.dir == "open"}
    assert opened
    assert all(str(line.url).startswith("wss://") and line.exchange == id for line in opened.values())
    for conn, line in opened.items():
        said = [other.dir for other in lines if other.conn == conn]
        assert said[0] == "open", "before anything else on it"
        assert {"in", "out"} < set(said), line.url
    asked = [line for line in lines if line.dir == "rest"]
    assert str(asked[0].url).startswith("https://"), "the address is the exchange's, not the sandbox's"
    assert all((line.method, line.status, line.exchange) == ("GET", 200, id) for line in asked)
    assert all(json.loads(line.payload) for line in asked)
    for dir in ("in", "out", "rest"):  # frames have the time of their read of the socket, which others may follow
        times = [line.time for line in lines if line.dir == dir]
        assert times == sorted(times)
    assert abs(lines[-1].time / 1e9 - time.time()) < 600


def test_a_book_that_begins_with_rest_has_its_snapshots_in_the_capture(captured: Captured) -> None:
    asked = [str(line.url) for line in captured.lines("binance") if line.dir == "rest"]
    assert any(url.endswith("/exchangeInfo") for url in asked)
    assert sum("/depth?symbol=" in url for url in asked) >= 4


# --- replay -----------------------------------------------------------------------------------------------------------


CONNS = ("kraken/main.1#1", "kraken/bbo.2#1")
EARLY: set[tuple[str, str]] = set()
MIXED: set[tuple[str, str]] = set()


def test_a_snapshot_that_was_answered_before_the_first_delta_is_used(tmp_path: Path) -> None:
    url = "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000"
    book = {"lastUpdateId": 10, "bids": [["1", "1"]], "asks": [["2", "1"]]}
    delta = {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": 11, "u": 12, "b": [["1", "5"]], "a": []}
    frame = json.dumps({"stream": "btcusdt@depth@100ms", "data": delta})
    lines = [
        {"ts": "1", "dir": "open", "url": "wss://stream.binance.com:9443/stream", "conn": "1"},
        {"ts": "2", "dir": "rest", "url": url, "raw": json.dumps(book)},
        {"ts": "3", "dir": "in", "conn": "1", "raw": frame},
    ]
    path = tmp_path / "binance-x.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = rows(run("replay", path).stdout)
    assert [row["type"] for row in found if row["type"] != "health"][:2] == ["book_snapshot", "book_delta"]


def test_streams_of_one_address_are_told_apart(tmp_path: Path) -> None:
    url = "wss://ws.kraken.com/v2"
    params = {"channel": "ticker", "symbol": ["BTC/USD"]}
    said = {"symbol": "BTC/USD", "bid": 1, "bid_qty": 2, "ask": 3, "ask_qty": 4, "last": 5, "volume": 6, "vwap": 7}
    frame = {
        "channel": "ticker",
        "type": "update",
        "data": [said | {"low": 1, "high": 9, "change": 0, "change_pct": 0}],
    }
    lines = [{"ts": str(n), "dir": "open", "url": url, "conn": conn} for n, conn in enumerate(CONNS)]
    for conn, more in zip(CONNS, ({}, {"event_trigger": "bbo"}), strict=True):
        asked = {"method": "subscribe", "params": params | more}
        lines += [{"ts": "3", "dir": "out", "conn": conn, "raw": json.dumps(asked)}]
        lines += [{"ts": "4", "dir": "in", "conn": conn, "raw": json.dumps(frame)}]
    path = tmp_path / "kraken-x.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = [(row["type"], row["conn"]) for row in rows(run("replay", path).stdout) if row["type"] in MARKET]
    assert found == [("ticker", CONNS[0]), ("bbo", CONNS[1])]


def market(found: list[Row], id: str) -> dict[tuple[str, str], list[Row]]:
    """What the exchange said, in order, by type and symbol."""
    topics: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in found:
        if row["exchange"] == id and row["type"] in MARKET:
            topics[str(row["type"]), str(row["raw_symbol"])].append({k: row[k] for k in row if k not in OWN})
    return dict(topics)


@pytest.mark.parametrize("id", IDS)
def test_a_capture_gives_the_same_records_again(captured: Captured, id: str) -> None:
    done = run("replay", captured.paths[id])
    assert done.returncode == 0
    assert re.fullmatch(
        r"replay: \d{2,} frames of 1 capture, 0 not read; \d{2,} records, \d+ gaps?; \d+\.\d s\n", done.stderr.decode()
    )
    again = market(rows(done.stdout), id)
    live = market(captured.printed, id)
    unsure = EARLY | MIXED
    sure = {(kind, symbol) for kind, symbol in live if (id, kind) not in unsure}
    assert {kind for kind, _ in sure} >= {"trade"}
    for topic in sure | (again.keys() - {(kind, symbol) for kind, symbol in again if (id, kind) in MIXED}):
        assert again.get(topic) == live.get(topic), topic
    assert {row["source"] for row in rows(done.stdout) if row["type"] == "trade"} == {"replay"}
    assert run("replay", captured.paths[id]).stdout == done.stdout, "and the same bytes every time"


def test_normalize_reads_a_capture_too(captured: Captured) -> None:
    done = run("normalize", "--exchange", "kraken", captured.paths["kraken"])
    assert (done.returncode, done.stderr) == (0, b"")
    trades = [str(row["id"]) for row in rows(done.stdout) if row["type"] == "trade"]
    assert sorted(trades) == sorted(str(row["id"]) for row in captured.printed if is_trade_of(row, "kraken"))


def is_trade_of(row: Row, id: str) -> bool:
    return (row["type"], row["exchange"]) == ("trade", id)


def test_several_captures_go_to_the_sinks_of_a_configuration(captured: Captured, tmp_path: Path) -> None:
    config = tmp_path / "sinks.toml"
    config.write_text(
        '[[exchanges]]\nid = "okx"\nchannels = ["trades"]\nsymbols = ["*"]\n'
        f'[[sinks]]\ntype = "files"\npath = "{tmp_path}/data"\ncompress = false\n'
    )
    done = run("replay", "--config", config, captured.paths["okx"], captured.paths["kraken"])
    assert (done.returncode, done.stdout) == (0, b"")
    assert b" of 2 captures, 0 not read; " in done.stderr
    for id in ("okx", "kraken"):
        (path,) = (tmp_path / "data").glob(f"*/{id}/trades-*.ndjson")
        ids = sorted(str(row["id"]) for row in rows(path.read_bytes()) if row["type"] == "trade")
        assert ids == sorted(str(row["id"]) for row in captured.printed if is_trade_of(row, id))


def okx_trades(directory: Path) -> Path:
    """A capture of three trades, at 0, 1 and 4 seconds."""
    path = directory / "okx-paced.jsonl"
    row = {"instId": "BTC-USDT", "tradeId": "7", "px": "1", "sz": "1", "side": "buy", "ts": "1700000000000"}
    frame = json.dumps({"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": [row]})
    lines = [{"ts": f"{1_700_000_000 + second}", "dir": "in", "raw": frame} for second in (0, 1, 4)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_capture_is_replayed_at_its_own_pace_where_that_is_wanted(tmp_path: Path) -> None:
    path = okx_trades(tmp_path)
    assert times_of_trades(path, speed=4) == [0, 0.25, 1]
    assert times_of_trades(path, speed=0) == [0, 0, 0]
    fast, paced = run("replay", path), run("replay", "--speed", "100", path)
    assert fast.stdout == paced.stdout
    assert [row["type"] for row in rows(fast.stdout)].count("trade") == 3


@hurried
async def times_of_trades(path: Path, *, speed: float) -> list[float]:
    """The seconds after which the trades of a capture are published."""
    bus, times = Bus("replay"), list[float]()
    bus.attach(lambda batch: times.extend(seconds() for record in batch.records if isinstance(record, Trade)))
    sinks = RunningSinks(bus, on_idle=lambda: None)
    await Player(sinks, speed, ReadingPace([path])).play(path, reader(path, "okx", None), asyncio.Event())
    return times


# --- what must not be -------------------------------------------------------------------------------------------------


def test_a_capture_that_does_not_say_whose_it_is_must_be_told(tmp_path: Path) -> None:
    path = tmp_path / "unknown.jsonl"
    path.write_text('{"ts":"1","dir":"in","raw":"{}"}\n')
    done = run("replay", path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"name it with --exchange" in done.stderr


def test_an_unreadable_line_or_frame_is_named_and_the_rest_is_replayed(tmp_path: Path) -> None:
    trade = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": 1, "p": "1", "q": "1", "T": 1, "m": True}
    good = json.dumps({"ts": "5", "dir": "in", "raw": json.dumps({"stream": "btcusdt@trade", "data": trade})})
    hostile = '{"ts":"4","dir":"in","url":"https://[","raw":"{}"}'
    bad = ["not JSON", hostile.replace('"4"', '"soon"'), '{"ts":"4","dir":"in","raw":"{\\u001b[2J\\n"}']
    path = tmp_path / "binance-x.jsonl"
    path.write_text("\n".join([*bad, hostile, good]) + "\n")
    done = run("replay", path)
    assert done.returncode == 0
    assert [row["type"] for row in rows(done.stdout)].count("trade") == 1
    said = done.stderr.decode().splitlines()
    assert said[-1].startswith("replay: 4 frames of 1 capture, 3 not read; ")
    assert [line.removeprefix(f"{path}:").split(":")[0] for line in said] == ["1", "2", "3", "replay"]
    assert all(line.isprintable() for line in said)


def test_a_hostile_address_ends_no_replay(tmp_path: Path) -> None:
    path = tmp_path / "okx-x.jsonl"
    path.write_text('{"ts":"4","dir":"in","url":"https://[","raw":"{}"}\n{"ts":"5","dir":"in","raw":"pong"}\n')
    done = run("replay", path)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert done.stderr.startswith(f"{path}:1: ".encode())
    assert f"{path}: 0 of 2 frames read: are they okx's?" in done.stderr.decode()


def test_a_replay_needs_no_more_than_a_place(tmp_path: Path) -> None:
    path = okx_trades(tmp_path)
    out, config = tmp_path / "out", tmp_path / "sinks.toml"
    assert run("replay", "--out", out, path).returncode == 0
    (written,) = out.glob("*/okx/trades-*")
    again = run("replay", "--out", out, path)
    assert again.returncode == 1
    assert f"{out} is not empty" in again.stderr.decode()
    assert list(out.glob("*/okx/trades-*")) == [written]
    config.write_text(f'[[sinks]]\ntype = "files"\npath = "{out}"\n')
    beside = run("replay", "--config", config, path)
    assert beside.returncode == 0
    assert f"{out} is not empty" in beside.stderr.decode()
    assert run("replay", "--config", config, "--out", out, path).returncode == 2


def test_a_recording_is_not_replayed(tmp_path: Path) -> None:
    path = tmp_path / "okx-recording.ndjson"
    path.write_text('{"type":"header","schema":1}\n')
    done = run("replay", path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"{path}: this is a recording, not a capture" in done.stderr.decode()


def test_a_replay_that_cannot_write_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("replay", "--out", tmp_path / "file/out", okx_trades(tmp_path))
    assert done.returncode == 78
    assert f"files cannot be written below {tmp_path}/file/out: Not a directory" in done.stderr.decode()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = tmp_path / "daemon.toml"
    config.write_text(
        f'state = "{tmp_path}/state"\n[[exchanges]]\nid = "okx"\nchannels = ["trades"]\nsymbols = ["*"]\n'
        '[[sinks]]\ntype = "stdout"\n'
    )
    done = run("capture", "--config", config, "--out", tmp_path / "file" / "captures")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"aggregator: {tmp_path}/file/captures: Not a directory\n"


# --- the recorder -----------------------------------------------------------------------------------------------------


class Wire:
    """A line that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    def hang_up(self, reason: str) -> None:
        self.sent.append(reason.encode())


class Ears:
    """A listener that keeps what it hears."""

    name = "toy/main.1#1"

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def frames(self, payloads: list[bytes], now: Now) -> None:
        assert now == NOW
        self.heard += payloads

    def gone(self, reason: str) -> None:
        self.heard.append(reason.encode())


def network(wire: Wire) -> Network:
    """A network that says one frame while it is dialled, and refuses all but one address."""

    async def dial(address: Address, listener: LineListener) -> Line:
        if "refused" in address.url:
            raise SessionError("refused")
        listener.frames([b"\x1f\x8bgzip"], NOW)
        return wire

    async def fetch(request: Request) -> Answer:
        if "none" in request.url:
            raise SessionError("no answer")
        return Answer(429, "zu viel ✓".encode(), {})

    return Network(dial, fetch, lambda: NOW)


async def use(recorder: Recorder, wire: Wire) -> Ears:
    """One connection, one that fails, one answer, and one that does not come."""
    ears, listened = Ears(), recorder.network()
    line = await listened.dial(Address("wss://a.example/ws?token=%"), ears)
    line.send(b"subscribe")
    with pytest.raises(SessionError, match="refused"):
        await listened.dial(Address("wss://refused.example"), ears)
    assert (await listened.fetch(Request("https://a.example/x"))).status == 429
    with pytest.raises(SessionError, match="no answer"):
        await listened.fetch(Request("https://none.example"))
    line.hang_up("enough")
    assert wire.sent == [b"subscribe", b"enough"]
    return ears


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.zst"])
def test_everything_that_comes_and_goes_is_written_down(tmp_path: Path, name: str) -> None:
    wire, path = Wire(), tmp_path / "deep" / name
    recorder = Recorder(path, "alpha", network(wire))
    ears = asyncio.run(use(recorder, wire))
    recorder.close()
    assert ears.heard == [b"\x1f\x8bgzip"]
    found = [line for _, line in read_capture(path) if isinstance(line, CaptureLine)]
    assert [(line.dir, line.conn, line.payload) for line in found] == [
        ("open", Ears.name, b""),
        ("in", Ears.name, b"\x1f\x8bgzip"),
        ("out", Ears.name, b"subscribe"),
        ("rest", "", "zu viel ✓".encode()),
        ("close", Ears.name, b"enough"),
    ]
    assert (found[0].url, found[0].exchange) == ("wss://a.example/ws?token=%", "alpha")
    assert (found[3].url, found[3].status, found[3].method) == ("https://a.example/x", 429, "GET")
    assert {line.time for line in found} == {1_700_000_000_000_000_001}


def test_a_second_run_appends(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.zst"
    for _ in range(2):
        recorder = Recorder(path, "alpha", network(Wire()))
        recorder.write("in", {"raw": "x"})
        recorder.close()
    assert len(list(read_capture(path))) == 2
    assert (
        zstandard.ZstdDecompressor().stream_reader(path.read_bytes(), read_across_frames=True).read().count(b"\n") == 2
    )


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.zst"])
def test_every_line_that_a_full_disk_costs_is_counted(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rooms, write, wire = tmp_path / name, [0], os.write, Wire()

    def narrow(fd: int, blob: bytes) -> int:
        """As a disk on which there is only so much room: part of a piece fits."""
        fits = min(len(blob), rooms[0])
        if not fits:
            raise OSError(errno.ENOSPC, "No space left on device")
        rooms[0] -= fits
        return write(fd, blob[:fits])

    monkeypatch.setattr("aggregator.capture.recorder.os.write", narrow)
    recorder, written = Recorder(path, "alpha", network(wire)), 0
    for room in (200, 20, 0, 1, 100_000):  # what there is when the next ten lines come
        rooms[0] = room
        for _ in range(10):
            recorder.write("in", {"raw": f"{written:010d}"}, Now(NOW.wall, NOW.mono + written * 10**9))
            written += 1
        recorder._flush()
        until_written(recorder)
    rooms[0] = 100_000
    recorder.close()
    there = [line for _, line in read_capture(path)]
    assert all(isinstance(line, CaptureLine) for line in there)
    assert 10 <= len(there) < written
    assert len(there) + recorder.lost == written


def until_written(recorder: Recorder) -> None:
    """Until its thread has done all that was asked of it."""
    end = time.monotonic() + 20
    while recorder.status().waiting:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_disk_that_hangs_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the memory does not hold is left out, counted and said; what it holds is written in the end."""
    answers, write = threading.Event(), os.write

    def slow(fd: int, blob: bytes) -> int:
        answers.wait()
        return write(fd, blob)

    monkeypatch.setattr("aggregator.capture.recorder.os.write", slow)
    monkeypatch.setattr("aggregator.capture.recorder.CLOSE_S", 0.01)
    path = tmp_path / "x.jsonl"
    recorder = Recorder(path, "alpha", network(Wire()))
    line, count = "x" * 10_000, MOST_UNWRITTEN_BYTES // 10_000 + 500
    for _ in range(count):
        recorder.write("in", {"raw": line})
    status = recorder.status()
    assert status.waiting + status.lost == count
    assert 400 < status.lost < 600
    assert f"{path}: the disk does not keep up; what comes now is missing from it" in caplog.text
    recorder.close()
    assert f"{path}: the disk does not answer: the end of the capture is not written" in caplog.text
    answers.set()
    until_written(recorder)
    assert len(list(read_capture(path))) == count - status.lost


def test_another_file_is_begun_behind_what_waits(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.jsonl", "alpha", network(Wire()))
    recorder.write("in", {"raw": "before"})
    recorder.reopen(lambda: tmp_path / "b.jsonl")
    recorder.write("in", {"raw": "between"})
    recorder.reopen(lambda: tmp_path / "none" / "c.jsonl")
    recorder.write("in", {"raw": "after"})
    recorder.close()
    found = {path.name: [line.raw for _, line in read_capture(path)] for path in sorted(tmp_path.iterdir())}  # type: ignore[union-attr]
    assert found == {"a.jsonl": ["before"], "b.jsonl": ["between", "after"]}


def test_a_full_disk_is_said_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.jsonl"
    path.symlink_to("/dev/full")
    recorder = Recorder(path, "alpha", network(Wire()))
    for _ in range(3):
        recorder.write("in", {"raw": "x" * 10_000})
    recorder.close()
    assert recorder.lost == 3
    assert [record.message for record in caplog.records] == [
        f"{path}: cannot write the capture: [Errno 28] No space left on device; what comes now is missing from it",
        f"{path}: 3 lines are missing",
    ]
