"""`aggregator normalize` as a user runs it: its two outputs and its exit code, and as a process of its own."""

import base64
import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
import zstandard
from click.testing import CliRunner

from aggregator.catalog.registry import load_exchange
from aggregator.cli.normalize import command

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "aggregator", "normalize"]
AT = 1_700_000_000
PUBLIC, BUSINESS = "wss://ws.okx.com:8443/ws/v5/public", "wss://ws.okx.com:8443/ws/v5/business"
BOM = b"\xef\xbb\xbf"

Row = dict[str, object]


class Done(NamedTuple):
    """What came of a run."""

    returncode: int
    stdout: bytes
    stderr: bytes


def normalize(*arguments: str | Path, stdin: bytes = b"") -> Done:
    """Run the command in this process, which has imported everything already."""
    done = CliRunner().invoke(command, [str(argument) for argument in arguments], input=stdin, catch_exceptions=False)
    return Done(done.exit_code, done.stdout_bytes, done.stderr_bytes)


def records(done: Done) -> list[Row]:
    """What a run that succeeded wrote; every line of it must be whole."""
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.endswith(b"\n") or not done.stdout
    return [json.loads(line) for line in done.stdout.splitlines()]


def complaints(done: Done) -> list[str]:
    return done.stderr.decode().splitlines()


def line(frame: object, *, at: float = 0.0, **others: object) -> bytes:
    """A capture line around a frame; a text or an object of JSON."""
    raw = frame if isinstance(frame, str) else json.dumps(frame, separators=(",", ":"))
    return json.dumps({"ts": f"{AT + at:.6f}", "dir": "in", "raw": raw} | others).encode()


def lines(*parts: bytes) -> bytes:
    return b"\n".join(parts) + b"\n"


def trade(id: int, symbol: str = "BTCUSDT", price: str = "100.10") -> Row:
    data = {
        "e": "trade",
        "E": AT * 10**6 + id,
        "s": symbol,
        "t": id,
        "p": price,
        "q": "0.50",
        "T": AT * 10**6,
        "m": True,
    }
    return {"stream": f"{symbol.lower()}@trade", "data": data}


def depth(first: int, last: int) -> Row:
    data = {
        "e": "depthUpdate",
        "E": AT * 10**6,
        "s": "BTCUSDT",
        "U": first,
        "u": last,
        "b": [["100.00", "1.5"]],
        "a": [],
    }
    return {"stream": "btcusdt@depth@100ms", "data": data}


def okx_trade(px: str = "67120.1") -> Row:
    row = {"instId": "BTC-USDT", "tradeId": "7", "px": px, "sz": "0.25", "side": "buy", "ts": f"{AT}000", "count": "1"}
    return {"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": [row]}


LISTING = {
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "status": "TRADING",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.01"}],
        }
    ]
}
TRADE = line(trade(1))


def kinds(found: Iterable[Row]) -> list[object]:
    return [record["type"] for record in found]


# --- what must not be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--exchange", "binance"], "Missing argument 'FILE…'"),
        (["-"], "Missing option '--exchange'"),
        (["--exchange", "binnance", "-"], '"binnance" is not an exchange of the catalogue; did you mean "binance"?'),
        (["--exchange", "../../binance", "-"], '"../../binance" is not an exchange of the catalogue'),
        (["--exchange", "okex", "-"], '"okex" was renamed to okx in 2022-01; use id = "okx"'),
        (["--exchange", "okx", "--stream", "publik", "-"], "okx has no stream 'publik'; it has: public, "),
        (["--exchange", "binance", "."], "is a directory"),
        (["--exchange", "binance", "--nope", "-"], "No such option"),
        (["--exchange", "binance", "-", "-"], "- is read alone"),
        (["--exchange", "binance", "--jobs", "0", "-"], "Invalid value for '--jobs'"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_wrong_use_exits_2(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(command, arguments, input=TRADE)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_file_that_is_not_there_exits_1(tmp_path: Path) -> None:
    done = normalize("--exchange", "binance", tmp_path / "none.jsonl")
    assert (done.returncode, done.stdout) == (1, b"")
    assert complaints(done) == [f"aggregator: {tmp_path}/none.jsonl: No such file or directory"]


@pytest.mark.parametrize(
    "body", [None, b"", b"{}", b"[1,2", b"\xff\xfe"], ids=["absent", "empty", "{}", "cut", "binary"]
)
def test_a_listing_that_cannot_be_read_exits_1(tmp_path: Path, body: bytes | None) -> None:
    listing = tmp_path / "listing.json"
    if body is not None:
        listing.write_bytes(body)
    done = CliRunner().invoke(command, ["--exchange", "binance", "--instruments", str(listing), "-"], input=TRADE)
    assert (done.exit_code, done.stdout) == (1, "")
    (complaint,) = done.stderr.splitlines()
    assert complaint.startswith(f"aggregator: {listing}: ")


@pytest.mark.parametrize(("arguments", "code"), [(["--exchange", "x", "-"], 2), (["--exchange", "okx", "none"], 1)])
def test_the_process_leaves_with_the_code(arguments: list[str], code: int) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, cwd=ROOT, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (code, b"")
    assert b"Traceback" not in done.stderr


def test_the_process_says_what_the_command_does() -> None:
    arguments, content = ["--exchange", "binance", "-"], lines(TRADE, b"no line", line(trade(2)))
    done = subprocess.run([*COMMAND, *arguments], input=content, capture_output=True, cwd=ROOT, timeout=30, check=False)
    assert kinds(records(Done(done.returncode, done.stdout, done.stderr))) == ["trade", "gap", "trade"]
    assert Done(done.returncode, done.stdout, done.stderr) == normalize(*arguments, stdin=content)


@pytest.mark.parametrize("option", [[], ["--parse-only"]], ids=["session", "parse-only"])
def test_a_frame_that_cannot_be_read_is_one_gap_and_the_next_is_read(option: list[str]) -> None:
    bad = line('{"stream":"btcusdt@trade","data":{"e":"trade","p":', at=1)
    done = normalize(
        "--exchange", "binance", "--line-numbers", *option, "-", stdin=lines(TRADE, bad, line(trade(2), at=2))
    )
    before, gap, after = records(done)
    assert (before["type"], before["id"], after["type"], after["id"]) == ("trade", "1", "trade", "2")
    assert (gap["type"], gap["cause"], gap["phase"], gap["exchange"]) == ("gap", "parse_error", "close", "binance")
    assert (gap["line"], gap["ts_from"], gap["ts_to"]) == (2 if option else 3, (AT + 1) * 10**9, (AT + 1) * 10**9)
    assert [record["offset"] for record in (before, gap, after)] == [1, 2, 3]
    assert len(complaints(done)) == 1
    assert complaints(done)[0].startswith("line 2: a frame that cannot be read: ")


HOSTILE = {
    "no JSON": b"GET / HTTP/1.1",
    "null": b"null",
    "an array": b'[{"dir":"in"}]',
    "cut off": TRADE[:40],
    "not UTF-8": b'{"ts":"1","dir":"in","raw":"\xff\xfe"}',
    "half a surrogate pair": b'{"ts":"1","dir":"in","raw":"\\ud800"}',
    "a byte order mark": BOM + TRADE,
    "raw is a number": b'{"ts":"1","dir":"in","raw":5}',
    "no frame at all": b'{"ts":"1","dir":"in"}',
    "no base64": b'{"ts":"1","dir":"in","raw_b64":"!!"}',
    "base64 of rubbish": b'{"ts":"1","dir":"in","raw_b64":"AAECA//+"}',
    "time is not a number": line(trade(1), ts="NaN"),
    "time without end": line(trade(1), ts="1e400"),
    "time of a billion digits": line(trade(1), ts="1e999999999"),
    "frame nested deep": line("[" * 100_000),
    "numbers as objects": line({"stream": "btcusdt@trade", "data": {"e": "trade", "p": {}, "q": [], "t": "x"}}),
}


@pytest.mark.parametrize("option", ["--line-numbers", "--parse-only"])
def test_hostile_lines_are_a_gap_each_and_harm_no_other(option: str) -> None:
    done = normalize("--exchange", "binance", option, "-", stdin=lines(*HOSTILE.values(), line(trade(9), at=9)))
    *gaps, last = records(done)
    assert {(gap["type"], gap.get("cause")) for gap in gaps} == {("gap", "parse_error")}
    missed = [int(str(gap.get("missed", 1))) for gap in gaps]
    assert sum(missed) == len(HOSTILE)  # of a session those one behind the other are one
    assert (last["type"], last["id"]) == ("trade", "9")
    said = complaints(done)
    assert [text.split(":")[0] for text in said] == [f"line {number}" for number in range(1, len(HOSTILE) + 1)]
    assert max(map(len, said)) < 600


@pytest.mark.parametrize("option", [[], ["--parse-only"]], ids=["session", "parse-only"])
def test_of_a_line_whose_time_is_none_the_time_is_blamed_and_its_gap_has_a_neighbour_s(option: list[str]) -> None:
    timeless = line(trade(2), ts="yesterday")
    content = lines(timeless, b"no line", TRADE, timeless, line(trade(2), at=2))
    done = normalize("--exchange", "binance", *option, "--line-numbers", "-", stdin=content)
    found = records(done)
    assert [(record["type"], record["line"]) for record in found] == [
        ("gap", 1),
        ("gap", 2),
        ("trade", 3),
        ("gap", 4),
        ("trade", 5),
    ]
    assert {gap["ts_from"] for gap in found if gap["type"] == "gap"} == {AT * 10**9}
    said = complaints(done)
    blamed = "its ts: 'yesterday' is not a time in decimal seconds"
    assert [said[0], said[2]] == [f"line {number}: {blamed}" for number in (1, 4)]
    assert len(said) == 3


def test_a_line_that_is_nested_too_deeply_is_a_gap_too() -> None:
    deep = b'{"ts":"1","dir":"in","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    done = normalize("--exchange", "binance", "-", stdin=lines(deep, TRADE))
    assert kinds(records(done)) == ["gap", "trade"]


def test_a_time_beyond_64_bits_is_a_gap_too() -> None:
    done = normalize("--exchange", "binance", "-", stdin=lines(line(trade(1), ts="99999999999999999999"), TRADE))
    assert kinds(records(done)) == ["gap", "trade"]


def test_a_hostile_address_or_connection_name_is_only_a_name() -> None:
    frames = [
        line(okx_trade(), url="https://["),
        line(okx_trade("1.5"), url="x" * 100_000),
        line(okx_trade("2.5"), conn="../../\0\n" + "y" * 1000),
        line("{}", dir="sideways"),
        line("{}", dir="rest", url="https://["),
        line("", dir="open", url="https://["),
    ]
    found = records(normalize("--exchange", "okx", "--parse-only", "-", stdin=lines(*frames)))
    assert [record.get("price") for record in found if record["type"] == "trade"][-2:] == ["1.5", "2.5"]
    joined = records(normalize("--exchange", "okx", "-", stdin=lines(*frames)))
    assert [record.get("price") for record in joined if record["type"] == "trade"][-2:] == ["1.5", "2.5"]


def test_what_is_complained_of_can_neither_break_a_line_nor_steer_a_terminal() -> None:
    bad = line("{\n\r\x1b[31m\x07 red")
    done = normalize("--exchange", "binance", "-", stdin=lines(bad, line('{"stream":"\x1b]0;name\x07'), TRADE))
    assert [(record["type"], record.get("missed")) for record in records(done)] == [("gap", 2), ("trade", None)]
    assert done.stderr.count(b"\n") == len(complaints(done)) == 2
    assert all(text.isprintable() for text in complaints(done))


def test_frames_of_an_exchange_that_has_no_socket_are_named_not_a_crash() -> None:
    done = normalize("--exchange", "bit2c", "-", stdin=lines(line("{}")))
    assert kinds(records(done)) == ["gap"]
    assert "no stream" in done.stderr.decode()


def test_a_cut_off_zst_gives_what_it_holds_and_says_that_it_is_cut(tmp_path: Path) -> None:
    whole = zstandard.ZstdCompressor(level=1).compress(
        lines(*(line(trade(id), pad=os.urandom(999).hex()) for id in range(1, 400)))
    )
    path = tmp_path / "cut.jsonl.zst"
    path.write_bytes(whole[: len(whole) // 2])
    done = normalize("--exchange", "binance", "--parse-only", path)
    found = records(done)
    ids = [int(str(record["id"])) for record in found if record["type"] == "trade"]
    assert ids == list(range(1, len(ids) + 1))
    assert 50 < len(ids) < 399
    assert kinds(found)[-1] == "gap"
    assert len(complaints(done)) == 1
    assert complaints(done)[0].startswith(f"line {len(found)}: ")


def test_what_is_called_zst_and_is_not(tmp_path: Path) -> None:
    path = tmp_path / "not.jsonl.zst"
    path.write_bytes(lines(TRADE))
    done = normalize("--exchange", "binance", path)
    assert b'"trade"' not in done.stdout
    assert "not zstd" in done.stderr.decode()


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    process = subprocess.Popen(
        [*COMMAND, "--exchange", "binance", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(lines(*[line(trade(id)) for id in range(1, 2000)]), timeout=30)
    assert (process.returncode, said) == (0, b"")


# --- what must be -----------------------------------------------------------------------------------------------------


def test_a_trade_in_full() -> None:
    done = normalize(
        "--exchange", "binance", "--parse-only", "-", stdin=lines(line(trade(77, price="0.000000100"), at=0.25))
    )
    (found,) = records(done)
    assert done.stderr == b""
    assert {name: found[name] for name in ("type", "exchange", "raw_symbol", "symbol", "id", "side", "source")} == {
        "type": "trade",
        "exchange": "binance",
        "raw_symbol": "BTCUSDT",
        "symbol": None,
        "id": "77",
        "side": "sell",
        "source": "replay",
    }
    assert (found["price"], found["size"], found["base_size"]) == ("0.000000100", "0.50", "0.50")
    assert (found["ts_event"], found["ts_sent"]) == (AT * 10**9, AT * 10**9 + 77_000)
    assert (found["ts_recv"], found["offset"]) == (AT * 10**9 + 250_000_000, 1)
    assert "line" not in found


def test_the_same_from_a_file_from_zst_and_from_standard_input(tmp_path: Path) -> None:
    content = lines(*(line(trade(id), at=id) for id in range(1, 50)))
    plain, packed, two = tmp_path / "a.jsonl", tmp_path / "a.jsonl.zst", tmp_path / "two.jsonl.zst"
    plain.write_bytes(content)
    pack = zstandard.ZstdCompressor().compress
    packed.write_bytes(pack(content))
    two.write_bytes(pack(content[:777]) + pack(content[777:]))  # as a capture that was appended to
    outputs = [normalize("--exchange", "binance", path).stdout for path in (plain, packed, two)]
    outputs.append(normalize("--exchange", "binance", "-", stdin=content.removesuffix(b"\n")).stdout)
    assert kinds(json.loads(text) for text in outputs[0].splitlines()) == ["trade"] * 49
    assert set(outputs) == {outputs[0]}


def test_nothing_in_gives_nothing_out_and_is_said() -> None:
    done = normalize("--exchange", "binance", "-", stdin=b"\n  \n")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"aggregator: -: no frame in it\n")


def test_frames_of_which_no_record_comes_may_be_of_another_exchange() -> None:
    kraken = line('{"channel":"heartbeat"}')
    done = normalize("--exchange", "binance", "-", stdin=lines(kraken, kraken))
    assert done.returncode == 1
    assert done.stderr.endswith(b"aggregator: -: no record came of 2 frames: they tell nothing, or are not binance's\n")


def test_frames_that_are_understood_and_hold_no_record_are_said_to_be_so() -> None:
    done = normalize("--exchange", "binance", "-", stdin=lines(line('{"result":null,"id":1}')))
    assert done.returncode == 1
    assert done.stderr == b"aggregator: -: no record came of 1 frame: they tell nothing, or are not binance's\n"


def test_a_recording_is_told_from_a_capture(tmp_path: Path) -> None:
    path = tmp_path / "trades.ndjson"
    path.write_bytes(lines(b'{"type":"header","schema":1}', b'{"type":"trade"}'))
    done = normalize("--exchange", "binance", path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"{path}: this is a recording, not a capture" in done.stderr.decode()


def test_a_frame_as_base64_is_the_same_frame() -> None:
    raw = json.dumps(trade(1)).encode()
    coded = json.dumps({"ts": str(AT), "dir": "in", "raw_b64": base64.b64encode(raw).decode()}).encode()
    plain = json.dumps({"ts": str(AT), "dir": "in", "raw": raw.decode()}).encode()
    outputs = [normalize("--exchange", "binance", "-", stdin=text) for text in (coded, plain)]
    assert kinds(records(outputs[0])) == ["trade"]
    assert outputs[0].stdout == outputs[1].stdout


def test_lines_are_numbered_as_in_the_input() -> None:
    outbound = line('{"method":"SUBSCRIBE"}', dir="out")
    content = lines(
        outbound, b"", TRADE, line("", dir="open", url="wss://stream.binance.com:9443/stream"), line(trade(2))
    )
    found = records(normalize("--exchange", "binance", "--line-numbers", "--parse-only", "-", stdin=content))
    assert [(record["type"], record["id"], record["line"]) for record in found] == [
        ("trade", "1", 3),
        ("trade", "2", 5),
    ]


def test_the_parser_alone_checks_no_sequence_and_joins_no_book() -> None:
    content = lines(TRADE, line(trade(5), at=1), line(depth(100, 101), at=2), line(depth(900, 901), at=3))
    alone = records(normalize("--exchange", "binance", "--parse-only", "-", stdin=content))
    assert kinds(alone) == ["trade", "trade", "book_delta", "book_delta"]
    assert [(record["sequence_first"], record["sequence"]) for record in alone[2:]] == [(100, 101), (900, 901)]
    assert (alone[2]["bids"], alone[2]["asks"]) == ([["100.00", "1.5"]], [])
    joined = records(normalize("--exchange", "binance", "-", stdin=content))
    hole = next(record for record in joined if record.get("cause") == "sequence")
    assert (hole["channel"], hole["expected"], hole["got"], hole["missed"]) == ("trades", 2, 5, 3)
    assert "book_delta" not in kinds(joined), "without a snapshot there is no book to change"


def test_a_book_is_joined_with_the_snapshot_that_was_asked_for() -> None:
    url = "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000"
    body = {"lastUpdateId": 150, "bids": [["100.00", "1"], ["99.00", "2"]], "asks": [["101.00", "3"]]}
    frames = [
        line(depth(100, 140)),
        line(depth(141, 151), at=0.1),
        line(body, at=0.2, dir="rest", url=url),
        line(depth(152, 153), at=0.3),
    ]
    found = records(normalize("--exchange", "binance", "-", stdin=lines(*frames)))
    books = [(record["type"], record["sequence"]) for record in found if str(record["type"]).startswith("book")]
    assert books[0][0] == "book_snapshot"
    assert books[-1] == ("book_delta", 153)
    assert [record for record in found if record.get("cause") == "sequence"] == []


def test_a_listing_gives_unified_symbols(tmp_path: Path) -> None:
    listing = tmp_path / "listing.json"
    listing.write_text(json.dumps(LISTING))
    content = lines(TRADE, line(trade(1, symbol="ETHUSDT")))
    for option in (["--parse-only"], []):
        found = records(normalize("--exchange", "binance", "--instruments", listing, *option, "-", stdin=content))
        symbols = {str(record["raw_symbol"]): record["symbol"] for record in found if record["type"] == "trade"}
        assert symbols == {"BTCUSDT": "BTC/USDT", "ETHUSDT": None}


def streams(done: Done) -> list[object]:
    """The streams that read the trades, as their connections' names say."""
    return [record["conn"] for record in records(done) if record["type"] == "trade"]


def test_the_stream_is_that_of_the_address_else_the_one_that_can_read_else_the_one_named() -> None:
    frames = [line(okx_trade(), url=BUSINESS), line(okx_trade(), url=PUBLIC), line(okx_trade())]
    assert streams(normalize("--exchange", "okx", "-", stdin=lines(*frames))) == [
        "okx/business.1#1",
        "okx/public.1#1",
        "okx/public.1#1",
    ]
    named = normalize("--exchange", "okx", "--stream", "business", "-", stdin=lines(*frames))
    assert streams(named) == ["okx/business.1#1"] * 3


def test_the_address_of_a_connection_stands_in_its_opening_line() -> None:
    frames = [line("", dir="open", url=BUSINESS, conn="a"), line(okx_trade(), conn="a"), line(okx_trade(), conn="b")]
    found = records(normalize("--exchange", "okx", "--line-numbers", "-", stdin=lines(*frames)))
    assert [(record["conn"], record["line"]) for record in found if record["type"] == "trade"] == [("a", 2), ("b", 3)]


def test_a_line_of_twenty_megabytes_is_one_bad_frame() -> None:
    long = io.BytesIO()
    long.write(b'{"ts":"1","dir":"in","raw":"' + b"x" * 20_000_000 + b'"}\n')
    done = normalize("--exchange", "binance", "--parse-only", "-", stdin=long.getvalue() + lines(TRADE))
    assert kinds(records(done)) == ["gap", "trade"]
    assert max(map(len, complaints(done))) < 600


def test_an_answer_that_names_no_request_is_read_by_the_first_poll_that_can() -> None:
    deal = json.dumps([{"date": 1700000000, "price": 5.10, "amount": 0.5, "isBid": False, "tid": 9}])
    for said in (line(deal), json.dumps({"url": None, "raw": deal}).encode()):
        (found,) = records(normalize("--exchange", "bit2c", "--parse-only", "-", stdin=lines(said)))
        assert (found["type"], found["id"], found["price"], found["side"]) == ("trade", "9", "5.1", "sell")
    done = normalize("--exchange", "bit2c", "--parse-only", "-", stdin=lines(line('{"no":1}')))
    assert kinds(records(done)) == ["gap"]


def test_a_poll_can_be_named_as_a_stream_can() -> None:
    deal = json.dumps([{"date": 1700000000, "price": 5.1, "amount": 0.5, "isBid": True, "tid": 9}])
    polls = [poll.name for poll in load_exchange("bit2c").polls]  # type: ignore[union-attr]
    given = {
        name: kinds(
            records(normalize("--exchange", "bit2c", "--stream", name, "--parse-only", "-", stdin=lines(line(deal))))
        )
        for name in polls
    }
    assert sorted(given.values()) == [["gap"]] * (len(polls) - 1) + [["trade"]]


# --- several captures -------------------------------------------------------------------------------------------------


def several(directory: Path) -> list[Path]:
    """Captures of which one is empty, one cut off, and one holds lines that cannot be read; and a recording."""
    files = {
        "a": lines(*(line(trade(id), at=id) for id in range(1, 700))),
        "b": b"",
        "c": lines(b"no line", TRADE, b"{", line("{"), line(trade(9))),
        "d": b'{"type":"header","schema":1}\n',
        "e": lines(*(line(trade(id, symbol="ETHUSDT"), at=id) for id in range(1, 700)))[:-40],
    }
    for name, content in files.items():
        (directory / f"{name}.jsonl").write_bytes(content)
    return [directory / f"{name}.jsonl" for name in files]


@pytest.mark.parametrize("option", [[], ["--parse-only"], ["--line-numbers"]], ids=["session", "parse-only", "numbers"])
def test_several_give_what_each_gives_alone_however_many_are_read_at_once(tmp_path: Path, option: list[str]) -> None:
    files = several(tmp_path)
    alone = [normalize("--exchange", "binance", *option, file) for file in files]
    one, two = (normalize("--exchange", "binance", *option, "--jobs", jobs, *files) for jobs in ("1", "2"))
    assert one.stdout == two.stdout == b"".join(done.stdout for done in alone)
    assert one.returncode == two.returncode == 1
    assert one.stderr == two.stderr
    assert f"{files[2]}: line 1: " in one.stderr.decode()
    assert f"aggregator: {files[1]}: no frame in it" in one.stderr.decode()
    assert f"{files[3]}: this is a recording" in one.stderr.decode()


def test_captures_that_can_all_be_read_exit_0(tmp_path: Path) -> None:
    first, *_, last = several(tmp_path)
    for jobs in ("1", "2"):
        assert len(records(normalize("--exchange", "binance", "--jobs", jobs, first, first, last))) > 2000


def test_it_starts_without_the_network_and_the_configuration() -> None:
    """They take four times as long to import as all that it needs."""
    code = "import sys, aggregator.cli.normalize; print(sorted({'aiohttp', 'pydantic'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_on_a_terminal_it_ends_with_the_counts(tmp_path: Path) -> None:
    first = several(tmp_path)[0]
    ours, theirs = os.openpty()
    command = [*COMMAND, "--exchange", "binance", str(first)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, cwd=ROOT)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while piece := os.read(ours, 65536):
            said += piece
    os.close(ours)
    assert process.wait(30) == 0
    assert b"normalize: 699 frames of 1 capture, 0 not read; 699 records, 0 gaps; " in said
