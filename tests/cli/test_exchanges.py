"""`aggregator exchanges` and `aggregator symbols`: shapes, filters, suggestions, and a listing over a real socket."""

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port
from click.testing import CliRunner, Result
from msgspec import Raw
from msgspec.json import Decoder

from aggregator.capture.listed import listed_in
from aggregator.catalog.catalog import Status, load_catalog
from aggregator.catalog.registry import connector_ids, load_exchange
from aggregator.cli import group
from aggregator.exchange import Event, Exchange, Listing, Request, Stream, Subscription
from aggregator.records import CHANNELS, Instrument

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
REST = "https://api.binance.com"
KEYS = [
    *("id", "name", "status", "closed", "successor", "countries", "transport", "connector", "keys", "channels"),
    *("archives", "read_as"),
]
FIRST, SECOND, HALTED = "BTCUSDT", "ETHUSDT", "LTCBTC"


def run(*words: str) -> Result:
    return CliRunner().invoke(group, words)


def listed(*words: str) -> list[dict[str, object]]:
    result = run("exchanges", "--json", *words)
    assert result.exit_code == 0, result.output
    found: list[dict[str, object]] = json.loads(result.stdout)
    return found


def symbol(name: str, base: str, quote: str, status: str = "TRADING") -> dict[str, object]:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.01000000"},
        {"filterType": "LOT_SIZE", "stepSize": "0.00001000", "minQty": "0.00002000", "maxQty": "9000"},
    ]
    return {"symbol": name, "status": status, "baseAsset": base, "quoteAsset": quote, "filters": filters}


BODY = json.dumps(
    {
        "symbols": [
            symbol(FIRST, "BTC", "USDT"),
            symbol(SECOND, "ETH", "USDT"),
            symbol(HALTED, "LTC", "XBT", "BREAK"),
            symbol("BTCUSDT2", "BTC", "USDT"),
            {"symbol": "ODD"},
        ]
    }
)


@pytest.fixture
def body(tmp_path: Path) -> Path:
    path = tmp_path / "listing.json"
    path.write_text(BODY)
    return path


# --- exchanges


def test_json_has_all_with_exactly_its_keys() -> None:
    everything = listed()
    assert [one["id"] for one in everything] == list(load_catalog())
    for one in everything:
        assert list(one) == KEYS
        assert isinstance(one["countries"], list)
        assert one["countries"] == list(load_catalog()[str(one["id"])].countries)
        assert one["transport"] in {"ws", "ws-auth", "rest-poll", None}
        assert isinstance(one["connector"], bool)
        assert one["keys"] == load_catalog()[str(one["id"])].keys
        assert isinstance(one["channels"], list)
        assert set(one["channels"]) <= set(CHANNELS)
        assert bool(one["channels"]) == one["connector"]


def test_json_says_what_became_of_an_exchange() -> None:
    found = {one["id"]: one for one in listed()}
    assert (found["okex"]["status"], found["okex"]["closed"], found["okex"]["successor"]) == (
        "renamed",
        "2022-01",
        "okx",
    )
    assert (found["bittrex"]["status"], found["bittrex"]["closed"]) == ("closed", "2023-12-04")
    assert found["bit2c"]["transport"] == "rest-poll"
    assert found["alpaca"]["transport"] == "ws-auth"


def test_older_formats_are_told_with_their_end_and_so_is_that_none_was_found() -> None:
    result = run("exchanges", "--archives")
    assert result.exit_code == 0
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    read = {row[0]: row[3] for row in rows}
    assert read["ftx"] == "trades, book, bbo, ticker until 2022-11-12"
    assert read["poloniex"] == "trades, book until 2022-08"
    assert read["huobi"] == "as those of `htx`"
    assert read["acx"] == "none were found"
    assert "binance" not in read
    assert run("exchanges", "--archives", "--json").exit_code == 2
    found = {str(one["id"]): one for one in listed()}
    assert found["ftx"]["archives"] == [{"channels": ["trades", "book", "bbo", "ticker"], "until": "2022-11-12"}]
    table = {row[0]: row[6] for row in (line.split("\t") for line in run("exchanges").stdout.splitlines())}
    assert (table["ftx"], table["binance"], table["acx"]) == ("old", "yes", "")


def test_connectors_and_their_channels_are_those_that_are_there() -> None:
    found = {one["id"]: one for one in listed()}
    assert {id for id, one in found.items() if one["connector"]} == set(connector_ids())
    for id in connector_ids():
        exchange = load_exchange(id)
        assert exchange is not None
        assert found[id]["channels"] == list(exchange.channels)


@pytest.mark.parametrize("country", ["JP", "jp", "Japan", "日本"])
def test_a_country_by_code_or_name(country: str) -> None:
    wanted = [entry.id for entry in load_catalog().values() if "JP" in entry.countries]
    assert [one["id"] for one in listed("--country", country)] == wanted


@pytest.mark.parametrize("status", ["live", "renamed", "duplicate-api", "delisted", "closed"])
def test_a_status(status: Status) -> None:
    wanted = [entry.id for entry in load_catalog().values() if entry.status == status]
    assert wanted
    assert [one["id"] for one in listed("--status", status)] == wanted


def test_filters_join_and_may_leave_nothing() -> None:
    both = listed("--country", "JP", "--status", "live")
    assert {"bitflyer", "zaif"} <= {str(one["id"]) for one in both}
    assert all(one["status"] == "live" and "JP" in one["countries"] for one in both)  # type: ignore[operator]
    assert listed("--country", "JE", "--status", "live") == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--status", "lve"], "did you mean 'live'?"),
        (["--status", "xyzzy"], "is none of live, renamed, duplicate-api, delisted, suspended, closed"),
        (["--country", "Jpan"], "did you mean 'Japan'?"),
        (["--country", "Mars"], "from 'Mars'; known are the codes AE,"),
        (["--country", ""], "from ''"),
        (["--json", "--markdown"], "exclude each other"),
        (["--json", "--by-country"], "exclude each other"),
        (["--lang", "zh"], "name both"),
        (["--by-country", "--lang", "fr"], "'fr' is not one of 'en', 'zh'"),
    ],
)
def test_a_mistake_is_a_usage_error_that_says_what_is_allowed(words: Sequence[str], complaint: str) -> None:
    result = run("exchanges", *words)
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_without_a_terminal_there_are_tab_separated_lines() -> None:
    head, *rows = [line.split("\t") for line in run("exchanges").stdout.splitlines()]
    assert head == ["id", "name", "country", "status", "ended", "transport", "built"]
    assert [row[0] for row in rows] == list(load_catalog())
    assert {len(row) for row in rows} == {len(head)}
    found = {row[0]: row for row in rows}
    assert found["okex"][3:] == ["renamed", "2022-01 → okx", "", ""]
    assert found["binance"][3:] == ["live", "", "ws", "yes"]
    assert found["binanceusdm"][1] == "Binance USDⓈ-M"


def test_on_a_terminal_the_table_fits_100_characters() -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "xterm"}
    command = [sys.executable, "-m", "aggregator", "exchanges", "--country", "US"]
    process = subprocess.Popen(command, stdout=theirs, env=environment, cwd=ROOT)
    os.close(theirs)
    text = b""
    try:
        while chunk := os.read(ours, 65536):
            text += chunk
    except OSError:
        pass  # the other end is closed: all has been read
    os.close(ours)
    assert process.wait() == 0
    lines = re.sub(r"\x1b\[[0-9;]*m|\r", "", text.decode()).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["id", "name", "country", "status", "ended", "transport", "built"]
    assert any(line.split()[:1] == ["coinbaseinternational"] for line in lines)


@pytest.mark.parametrize(
    ("words", "page"),
    [
        (["--markdown"], "exchanges.md"),
        (["--by-country"], "exchanges-by-country.md"),
        (["--by-country", "--lang", "en"], "exchanges-by-country.md"),
        (["--by-country", "--lang", "zh"], "exchanges-by-country.zh.md"),
    ],
)
def test_pages_are_those_of_the_documentation(words: Sequence[str], page: str) -> None:
    result = run("exchanges", *words)
    assert result.exit_code == 0
    assert result.stdout == (ROOT / "docs" / page).read_text("utf-8"), "run `aggregator docs`"


def test_a_page_can_be_of_one_country() -> None:
    page = run("exchanges", "--markdown", "--country", "Malta", "--status", "live").stdout
    assert "`bequant`" in page
    assert "`kraken`" not in page


def test_the_start_is_quick_for_what_it_does_not_import() -> None:
    heavy = ["aiohttp", "asyncio", "picows", "pydantic", "rich", "uvloop", "zstandard"]
    code = f"""
import sys
from aggregator.cli import main
sys.argv = ["aggregator", "exchanges"]
try:
    main()
finally:
    sys.stderr.write(" ".join(name for name in {heavy!r} if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1 + len(load_catalog())


# --- symbols


def test_records_of_a_listing_in_a_file(body: Path) -> None:
    result = run("symbols", "binance", "--json", "--body", str(body))
    assert result.exit_code == 0
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["type"], one["offset"], one["raw_symbol"], one["symbol"], one["state"]) for one in records] == [
        ("instrument", 1, FIRST, "BTC/USDT", "trading"),
        ("instrument", 2, SECOND, "ETH/USDT", "trading"),
        ("instrument", 3, HALTED, "LTC/BTC", "halt"),
        ("instrument", 4, "BTCUSDT2", "BTC/USDT~BTCUSDT2", "trading"),
    ]
    assert (records[0]["tick_size"], records[0]["lot_size"]) == ("0.01000000", "0.00001000")
    assert "skipped an instrument" in result.stderr
    assert "BTCUSDT2 would be named BTC/USDT" in result.stderr


def test_rows_of_a_listing_in_a_file(body: Path) -> None:
    head, first, *_ = [line.split("\t") for line in run("symbols", "binance", "--body", str(body)).stdout.splitlines()]
    assert head == ["symbol", "raw", "kind", "state", "tick", "lot", "min", "contract", "ends"]
    assert first == ["BTC/USDT", FIRST, "spot", "trading", "0.01000000", "0.00001000", "0.00002000", "", ""]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--match", "*/BTC"], ["LTC/BTC"]),
        (["--match", "ETHUSDT"], ["ETH/USDT"]),
        (["--match", "BTC*"], ["BTC/USDT", "BTC/USDT~BTCUSDT2"]),
        (["--match", "btc*"], []),
        (["--kind", "spot", "--match", "*/BTC"], ["LTC/BTC"]),
        (["--kind", "option"], []),
    ],
)
def test_kinds_and_patterns(words: Sequence[str], names: Sequence[str], body: Path) -> None:
    result = run("symbols", "binance", "--json", "--body", str(body), *words)
    assert [json.loads(line)["symbol"] for line in result.stdout.splitlines()] == names
    assert result.exit_code == 0
    assert ("none of 4 instruments is wanted" in result.stderr) == (not names)


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["binanse"], 2, '"binanse" is not an exchange of the catalogue; did you mean "binance"?'),
        (["bittrex"], 2, '"bittrex" closed on 2023-12-04'),
        (["../binance"], 2, '"../binance" is not an exchange of the catalogue'),
        (["binance", "--endpoint", "here"], 2, "'here' is not ORIGINAL=REPLACEMENT"),
        (["binance", "--endpoint", "wss://a=wss://b"], 2, "begin with http(s)://"),
        (["binance", "--kind", "swap"], 2, "'swap' is not one of"),
        (["binance", "--body", "/nowhere/x"], 1, "/nowhere/x: No such file or directory"),
        (["binance", "--body", "x", "--endpoint", "http://a=http://b"], 2, "of no use with it"),
        (["binance", "--config", "/nowhere.toml"], 78, "/nowhere.toml: cannot be read"),
    ],
)
def test_a_mistake_is_named(words: Sequence[str], code: int, complaint: str) -> None:
    result = run("symbols", *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert complaint in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("<html>", "not an answer of binance's listing"), ('{"symbols":[]}', "no instrument could be read")],
)
def test_a_file_that_is_no_listing_is_named(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(text)
    result = run("symbols", "binance", "--body", str(tmp_path / "x"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{tmp_path}/x: {complaint}" in result.stderr


def rows(body: bytes) -> Iterable[Raw]:
    return Decoder(list[Raw]).decode(body)


def read_dated(row: Raw) -> Instrument:
    expiry = Decoder(int).decode(row)
    return Instrument(
        raw_symbol=f"X{expiry}" if expiry else "X\x1b[2J",
        kind="future",
        base="B\x1b[2J\tC",
        quote="USD",
        settle="BTC",
        expiry=expiry,
        contract_size="100",
    )


def subscribe(_wanted: Sequence[Subscription], _id: int) -> Iterable[bytes]:
    return ()


def parse(_frame: bytes) -> Iterable[Event]:
    return ()


PERPETUAL = """[{"name":"ETH_PERP","stock":"ETH","money":"PERP","stockPrec":"3","moneyPrec":"2","type":"futures"}]"""
INTERVALS = """{"success":true,"result":[{"ticker_id":"ETH_PERP","funding_interval_minutes":240}]}"""


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_file_may_hold_what_completes_a_listing(tmp_path: Path, order: Sequence[str]) -> None:
    (tmp_path / "a").write_text(PERPETUAL)
    (tmp_path / "b").write_text(INTERVALS)
    result = run(
        "symbols", "whitebit", "--json", *(word for name in order for word in ("--body", str(tmp_path / name)))
    )
    (record,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert (record["symbol"], record["funding_interval_s"]) == ("ETH/USDT:USDT", 14400)
    assert result.stderr == ""


def test_a_capture_may_hold_what_completes_its_listing(tmp_path: Path) -> None:
    exchange, path = load_exchange("whitebit"), tmp_path / "whitebit-a.jsonl"
    assert exchange is not None
    answers = zip(exchange.listing.all_requests, (PERPETUAL, INTERVALS), strict=True)
    path.write_text(
        "".join(json.dumps({"ts": "1", "dir": "rest", "url": r.url, "raw": raw}) + "\n" for r, raw in answers)
    )
    (instrument,) = listed_in(exchange, path, {})
    assert (instrument.symbol, instrument.funding_interval_s) == ("ETH/USDT:USDT", 14400)


def hostile() -> Exchange:
    """An exchange that names an instrument so that a terminal would be cleared and a row be broken."""
    feed = Stream(channels={"trades": "t"}, subscribe=subscribe, parse=parse)
    return Exchange(
        id="binance", docs="https://toy.example", feeds=(feed,), listing=Listing((Request(REST),), rows, read_dated)
    )


def test_names_cannot_steer_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of an asset is told without what would; an instrument's own would be asked for by it, and is refused."""
    monkeypatch.setattr("aggregator.cli.normalize.load_exchange", lambda _id: hostile())
    (tmp_path / "x").write_text("[1727424000000000000, 0]")
    result = run("symbols", "binance", "--body", str(tmp_path / "x"))
    (row,) = [line.split("\t") for line in result.stdout.splitlines()[1:]]
    assert row == [
        r"B\x1b[2J\tC/USD:BTC-240927",
        "X1727424000000000000",
        "future",
        "trading",
        "",
        "",
        "",
        "100",
        "2024-09-27",
    ]
    assert result.stderr == "binance: skipped an instrument: 'X\\x1b[2J' is no name: b'0'\n"


# --- symbols, fetched


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=BODY)

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=451, text="not from here")

    app = web.Application()
    app.router.add_get("/api/v3/exchangeInfo", answer)
    app.router.add_get("/closed/api/v3/exchangeInfo", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def program(*words: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "aggregator",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


async def test_a_listing_is_fetched(server: str) -> None:
    code, out, errors = await program("symbols", "binance", "--json", "--endpoint", f"{REST}={server}")
    records = [json.loads(line) for line in out.splitlines()]
    assert [one["raw_symbol"] for one in records] == [FIRST, SECOND, HALTED, "BTCUSDT2"]
    assert all(one["ts_recv"] > 1_700_000_000 * 10**9 and one["valid_from"] == one["ts_recv"] for one in records)
    assert "skipped an instrument" in errors
    assert code == 0


async def test_a_listing_is_fetched_from_where_a_configuration_says(server: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        '[[exchanges]]\nid = "binance"\nchannels = ["trades"]\nsymbols = ["*"]\n'
        f'endpoints = {{ "{REST}" = "{server}" }}\n[[sinks]]\ntype = "stdout"\n'
    )
    code, out, _ = await program("symbols", "binance", "--config", str(path), "--match", "ETH/*")
    assert [line.split("\t")[1] for line in out.splitlines()] == ["raw", SECOND]
    assert code == 0


def test_a_configuration_without_the_exchange_is_no_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        '[[exchanges]]\nid = "binance"\nchannels = ["trades"]\nsymbols = ["*"]\n[[sinks]]\ntype = "stdout"\n'
    )
    monkeypatch.setattr("aggregator.cli.normalize.load_exchange", lambda _id: hostile())
    result = run("symbols", "kraken", "--config", str(path))
    assert result.exit_code == 78
    assert "there is no [[exchanges]] with id = 'kraken'" in result.stderr


async def test_an_exchange_that_cannot_be_reached_is_an_error() -> None:
    nowhere = f"http://127.0.0.1:{unused_port()}"
    code, out, errors = await program("symbols", "binance", "--endpoint", f"{REST}={nowhere}")
    assert (code, out) == (1, "")
    assert errors.startswith(f"aggregator: binance: no answer from {nowhere}/api/v3/exchangeInfo: ")
    assert len(errors.splitlines()) == 1


async def test_an_exchange_that_refuses_is_an_error(server: str) -> None:
    code, out, errors = await program("symbols", "binance", "--endpoint", f"{REST}={server}/closed")
    assert (code, out) == (1, "")
    assert errors.splitlines() == [f"aggregator: binance: {REST}/api/v3/exchangeInfo: HTTP 451: not from here"]
