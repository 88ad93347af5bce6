"""Configurations: every mistake named at once, at its line, and whatever a file holds is either read or refused."""

import os
import re
from collections.abc import Callable
from grp import getgrgid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import Struct, structs

from aggregator.catalog.catalog import load_catalog
from aggregator.catalog.registry import connector_ids, known_channels
from aggregator.config.config import Config, ConfigErrors, default_state, load_config, read_shared_file
from aggregator.config.schema import Document, ExchangeTable, closest
from aggregator.docgen.configuration import FIRST, keys_of, own_sinks, own_sources, sinks_example, sources_example
from aggregator.errors import ConfigError
from aggregator.feed.sink import FeedKeys
from aggregator.sinks.files_settings import FilesSettings
from aggregator.sinks.journal.settings import JournalSettings
from aggregator.sinks.registry import OWN
from aggregator.sinks.sink import Delivery, SinkConfig
from aggregator.sinks.stdout import StdoutSettings
from aggregator.sinks.values import to_bytes, to_seconds, write_seconds
from aggregator.sources.source import Reception

ROOT = Path(__file__).parents[2]
GROUP = getgrgid(0).gr_name  # one that exists here
ALLOWED = ", ".join(sorted(OWN))  # the sinks that a message names
WHOLE = re.sub("(?m)^#(?=[^ ])", "", (ROOT / "config/full.toml").read_text("utf-8")).replace("market-data", GROUP)
OFFERED = {
    "binance": ("trades", "book", "candles"),
    "kraken": ("trades", "book", "bbo", "ticker"),
    "wazirx": ("trades",),
}
EXCHANGE = '[[exchanges]]\nid = "binance"\nchannels = ["trades"]\nsymbols = ["*"]\n'
SINK = '[[sinks]]\ntype = "stdout"\n'

Load = Callable[[str], Config]
Problems = Callable[[str], list[str]]


def path_of(sink: SinkConfig) -> Path:
    """Where a sink of files, or a feed, is in the file system."""
    settings = sink.settings
    return Path(settings.listen[0].removeprefix("unix:")) if isinstance(settings, FeedKeys) else settings.path


@pytest.fixture
def load(tmp_path: Path) -> Load:
    path = tmp_path / "site.toml"

    def loaded(text: str) -> Config:
        path.write_bytes(text.encode())
        return load_config(path, known_channels=OFFERED.get)

    return loaded


@pytest.fixture
def problems(load: Load, tmp_path: Path) -> Problems:
    """What is said of a text, a line each, without the directory."""

    def said(text: str) -> list[str]:
        with pytest.raises(ConfigErrors) as caught:
            load(text)
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return said


def exchange(line: str) -> str:
    """A whole file whose fifth line belongs to an exchange."""
    return EXCHANGE + line + "\n" + SINK


def sink(kind: str, line: str) -> str:
    """A whole file whose eighth line belongs to a sink."""
    return f'{EXCHANGE}[[sinks]]\ntype = "{kind}"\npath = "p"\n{line}\n'


def with_id(name: str) -> str:
    return exchange("").replace("binance", name)


def test_all_mistakes_are_named_at_once(problems: Problems) -> None:
    text = """\
loglevel = "info"
log_level = "inof"
[[exchanges]]
id = "binanse"
channels = ["trade"]
symbols = []
[[exchanges]]
id = "kraken"
channels = [
  "trades",
  "candles",
]
symbols = "BTC/USD"
[[sinks]]
type = "files"
template = "../{date}"
[[sinks]]
type = "feeed"
"""
    assert (
        "\n".join(problems(text))
        == """\
site.toml:1: loglevel: is not a key here; allowed: cluster, control, exchanges, feed, journal, log_format, log_level, \
required, sinks, sources, start_grace, state, version, workers; did you mean "log_level"?
site.toml:2: log_level: "inof" is unknown; allowed: debug, error, info, warning; did you mean "info"?
site.toml:4: exchanges[0].id: "binanse" is not an exchange of the catalogue; did you mean "binance"?
site.toml:5: exchanges[0].channels[0]: "trade" is not a channel; allowed: bbo, book, candles, funding, \
index_price, instruments, liquidations, mark_price, open_interest, options, orders, status, ticker, trades; \
did you mean "trades"?
site.toml:6: exchanges[0].symbols: must not be empty
site.toml:11: exchanges[1].channels[1]: "candles" is not a channel of kraken; allowed: bbo, book, ticker, trades
site.toml:13: exchanges[1].symbols: must be a list
site.toml:14: sinks[0].path: is missing
site.toml:16: sinks[0].template: "../{date}" must stay below path: no "/" at an end, no "//", no "." or ".." as a part
site.toml:18: sinks[1].type: "feeed" is not a sink; allowed: """
        + ALLOWED
        + """; did you mean "feed"?"""
    )


def test_the_errors_are_a_config_error_and_carry_the_parts(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(exchange("symbol = 1"))
    assert isinstance(caught.value, ConfigErrors)
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (5, "exchanges[0].symbol")
    assert problem.file.endswith("site.toml")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bittrex", '"bittrex" closed on 2023-12-04: Bittrex Global ended trading (US arm closed 2023-04-30)'),
        ("okex", '"okex" was renamed to okx in 2022-01; use id = "okx"'),
        ("bitbay", '"bitbay" was renamed to zonda in 2021-11; its successor "zonda" closed in 2026-04'),
        ("okcoin", '"okcoin" was renamed to okxus in 2025-05; use id = "okxus"'),
        ("idex", '"idex" was renamed to kuma in 2025; "kuma" is not in the catalogue'),
        ("gateio", '"gateio" was renamed to gate between 2022 and 2026; use id = "gate"'),
        ("hitbtc2", '"hitbtc2" is an old API of hitbtc; use id = "hitbtc"'),
        (
            "buda",
            '"buda" was delisted between 2023-04 and 2023-07: removed from ccxt 2023 (geo-blocked for the maintainers)',
        ),
        ("gemini", 'there is no connector for "gemini" yet; "aggregator exchanges" shows which have one'),
        ("Kraken", '"Kraken" is not an exchange of the catalogue; did you mean "kraken"?'),
        ("xqzw", '"xqzw" is not an exchange of the catalogue; "aggregator exchanges" lists all'),
    ],
)
def test_an_exchange_that_cannot_be_had(problems: Problems, name: str, said: str) -> None:
    assert problems(with_id(name)) == [f"site.toml:2: exchanges[0].id: {said}"]


@pytest.mark.parametrize(
    "name", [entry.id for entry in load_catalog().values() if entry.status != "live" and entry.id not in OFFERED]
)
def test_every_ended_exchange_names_its_date_and_successor(problems: Problems, name: str) -> None:
    (said,) = problems(with_id(name))
    entry = load_catalog()[name]
    assert all(date in said for date in (entry.closed or "").split(".."))
    assert (entry.successor or "") in said


def test_an_exchange_that_lists_dropped_but_trades_on_may_have_a_connector(load: Load) -> None:
    assert load(with_id("wazirx")).exchanges[0].id == "wazirx"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "symbol = 1",
            "symbol: is not a key here; allowed: audit, buckets, channels, compression, credentials, endpoints, id, ",
        ),
        ('credentials = "AKIAPLAIN"', "credentials: must be a table"),
        ('credentials = { key = "AKIAPLAIN" }', "credentials.key: must say where the key is, not hold it"),
        ("credentials = { key = 7 }", "credentials.key: must say where the key is, not hold it"),
        ('credentials = { key = "env:" }', "credentials.key: names nothing after env:"),
        ('credentials = { key = "credential:../../etc/shadow" }', "credentials.key: must be the name of a credential"),
        ('endpoints = "x"', "endpoints: must be a table"),
        ("proxy = 1", "proxy: must be text"),
        ("proxy = 'ftp://u:s3cret@h'", "proxy: is not a proxy; write it like"),
        ("proxy = 's3cret'", "proxy: is not a proxy; write it like"),
        ("proxy = 'http://u:s3cret@h:99999'", "proxy: is not a proxy; write it like"),
        ("proxy = 'env:NO_SUCH_PROXY'", "proxy: the environment has no NO_SUCH_PROXY"),
        ("proxy = 'file:/no/such'", "proxy: the file /no/such cannot be read: No such file or directory"),
        ("transport = 'curl'", 'transport: "curl" is unknown; allowed: auto, picows, websockets'),
        ("transport = 'picows'\ncompression = true", 'transport: "picows" cannot do compression'),
        ("transport = 'picows'\nproxy = 'socks5://h'", 'transport: "picows" cannot do a proxy socks5://'),
        ("endpoints = {'a b' = 'ws://h'}", 'endpoints."a b": "a b" must begin with ws://, wss://, http:// or https://'),
        ("endpoints = {'ws://h' = 1}", 'endpoints."ws://h": must be text'),
        ("endpoints = {'ws://h' = 'ftp://h'}", '"ftp://h" must begin with'),
        ("endpoints = {'ws://h' = 'ws://'}", '"ws://" is not an address'),
        ("endpoints = {'ws://h' = 'ws://h:99999'}", "is not an address"),
        ("endpoints = {'ws://h' = 'ws://h/\\u2028 x'}".replace("'", '"'), "is not an address"),
        ("endpoints = {'ws://h' = 'http://h'}", '"http://h" cannot stand for "ws://h": one is WebSocket, one HTTP'),
    ],
)
def test_a_wrong_line_of_an_exchange(problems: Problems, line: str, said: str) -> None:
    (problem,) = problems(exchange(line))
    assert problem.startswith("site.toml:5: exchanges[0].")
    assert said in problem
    assert "s3cret" not in problem


@pytest.mark.parametrize("address", ["wss://me:hunter2@h", "me:hunter2@h", "wss://me:hunter2/x@h", "wss://h:hunter2"])
def test_a_password_in_an_address_is_refused_and_not_repeated(problems: Problems, address: str) -> None:
    (as_value,) = problems(exchange(f"endpoints = {{'ws://h' = '{address}'}}"))
    assert "hunter2" not in as_value
    if "@" in address:
        (as_key,) = problems(exchange(f"endpoints = {{'{address}' = 'ws://h'}}"))
        assert "hunter2" not in as_key


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('["trades"]', "[]", "3: exchanges[0].channels: must not be empty"),
        ('["trades"]', "[1]", "3: exchanges[0].channels[0]: must be text"),
        ('["trades"]', '["candles_5x"]', '"candles_5x" is not an interval of candles; write it like "candles_5m"'),
        ('["trades"]', '["gap"]', '"gap" is not a channel of binance; allowed: book, candles, trades'),
        ('["*"]', '[""]', '4: exchanges[0].symbols[0]: "" is not a symbol'),
        ('["*"]', '["BTC\\u0000"]', '4: exchanges[0].symbols[0]: "BTC\\u0000" is not a symbol'),
        ('"binance"', "1", "2: exchanges[0].id: must be text"),
        ('id = "binance"', "", "1: exchanges[0].id: is missing"),
        ("[[exchanges]]", "[exchanges]", "1: exchanges: must name at least one: write [[exchanges]]"),
    ],
)
def test_wrong_values_of_an_exchange(problems: Problems, old: str, new: str, said: str) -> None:
    (problem,) = problems(exchange("").replace(old, new))
    assert said in problem


@pytest.mark.parametrize(
    ("kind", "line", "said"),
    [
        ("files", 'rotate_bytes = "12 parsecs"', 'rotate_bytes: "12 parsecs" is not a size; write bytes, or'),
        ("files", "rotate_bytes = 0", "rotate_bytes: must be at least 1"),
        ("files", "rotate_bytes = 1.5", "rotate_bytes: must be a whole number"),
        ("files", 'rotate_every = "7h"', 'rotate_every: must divide a day evenly, like "15m", "1h" or "1d"'),
        ("files", 'rotate_every = "2d"', "rotate_every: must divide a day evenly"),
        ("files", 'rotate_every = "soon"', 'rotate_every: "soon" is not a duration'),
        ("files", "rotate_every = nan", "rotate_every: must divide"),
        ("files", "rotate_every = true", "rotate_every: must be a number"),
        ("files", "queue = 0", "queue: must be at least 1"),
        ("files", "queue = 10000000000", "queue: must be at most 1000000000"),
        ("files", 'compress = "yes"', "compress: must be true or false"),
        ("files", "compres = true", 'did you mean "compress"?'),
        ("files", 'template = "{day}"', 'template: "{day}" is not a field; allowed: {channel}, {date}, {exchange}'),
        ("files", 'template = "{date!r}"', 'template: "{date!r}" is not a field'),
        ("files", 'template = "{date:>9}"', 'template: "{date:>9}" is not a field'),
        ("files", 'template = "{date.x}"', 'template: "{date.x}" is not a field'),
        ("files", 'template = "{}"', 'template: "{}" is not a field'),
        ("files", 'template = "{date"', "template: \"{date\": expected '}' before end of string"),
        ("files", 'template = "/etc/{date}"', "must stay below path"),
        ("files", 'template = "{date}/../.."', "must stay below path"),
        ("files", 'template = ""', "must stay below path"),
        ("files", 'template = "a\\u0000b"', "must stay below path"),
        ("files", 'topics = "trades:*:*"', "topics: must be a list"),
        ("files", "topics = []", "topics: must not be empty"),
        ("files", "topics = [1]", "topics: must be a list of texts"),
        ("files", 'topics = ["trade:*:*"]', "'trade' is not a channel; allowed: trades, book"),
        ("files", 'topics = ["trades"]', "'trades' is not a topic; write channel:exchange:symbol"),
        (
            "files",
            'when_full = "drop"',
            'when_full: "drop" is unknown; allowed: conflate, drop_newest, drop_oldest, spill',
        ),
        ("files", 'batch_age = "5"', 'batch_age: "5" is not a duration; write seconds, or text like "100ms", "1.5s"'),
        ("files", 'batch_age = "0.0000000001s"', "is not a duration"),
        ("files", 'batch_age = "1e3s"', "is not a duration"),
        (
            "files",
            'rotate_bytes = "0.3B"',
            'rotate_bytes: "0.3B" is not a size; write bytes, or text like "256MB", "1.5GB"',
        ),
        ("files", "batch_age = -1", "batch_age: must be at least 0"),
        ("files", 'on_start_error = "ignore"', 'on_start_error: "ignore" is unknown; allowed: fail, retry'),
        ("feed", "queue = 5", "queue: is not a key here; allowed: allow_gids, allow_uids, client_ca"),
        ("feed", "mode = 660", 'mode: must be octal and let the owner read and write, like "0660" or 0o660'),
        ("feed", 'mode = "rw"', 'mode: "rw" is not a mode; write it like "0660"'),
        ("feed", 'mode = "0060"', "mode: must be octal and let the owner"),
        ("feed", "mode = true", "mode: must be octal"),
        ("feed", 'group = "no such"', 'group: "no such" is not a group of this machine'),
        ("feed", "ring = 0", "ring: must be at least 1"),
        ("stdout", 'format = "csv"', 'format: "csv" is unknown; allowed: ndjson'),
    ],
)
def test_a_wrong_line_of_a_sink(problems: Problems, kind: str, line: str, said: str) -> None:
    text = sink(kind, line)
    (problem,) = problems(text.replace('path = "p"', "") if kind == "stdout" else text)
    assert problem.startswith("site.toml:8: sinks[0].")
    assert said in problem


@pytest.mark.parametrize(
    ("text", "length", "written"),
    [
        ("0.1s", 0.1, '"100ms"'),
        ("100ms", 0.1, '"100ms"'),
        ("0.25ms", 0.00025, '"0.25ms"'),
        ("1.5 h", 5400, '"90m"'),
        (" 30d ", 2_592_000, '"30d"'),
        (0.7, 0.7, '"700ms"'),
    ],
)
def test_a_duration(text: object, length: float, written: str) -> None:
    assert to_seconds(text) == length
    assert write_seconds(length) == written


def test_a_size_may_have_decimals() -> None:
    assert [to_bytes(text) for text in ("1.5GB", "0.5 KiB", "12", "2.0")] == [1_500_000_000, 512, 12, 2]


@pytest.mark.parametrize("every", ["0.1s", "500ms", "1.5h"])
def test_files_may_be_closed_at_each_part_of_a_day(load: Load, every: str) -> None:
    found = load(sink("files", f'rotate_every = "{every}"')).sinks[0].settings
    assert isinstance(found, FilesSettings)
    assert found.rotate_every == to_seconds(every)


@pytest.mark.parametrize("value", ["1", "nan", "[]", "true"])
def test_a_path_that_is_no_text(problems: Problems, value: str) -> None:
    assert problems(sink("files", "").replace('"p"', value)) == ["site.toml:7: sinks[0].path: must be text"]


@pytest.mark.parametrize("value", ["inf", "1e308", "99999999999999999999"])
@pytest.mark.parametrize("key", ["relist", "lifetime", "audit"])
def test_a_time_that_no_clock_can_count(problems: Problems, key: str, value: str) -> None:
    (said,) = problems(f"{EXCHANGE}{key} = {value}\n{SINK}")
    assert said == f"site.toml:5: exchanges[0].{key}: must be at most 3200000000.0"


@pytest.mark.parametrize("path", ["", "a\\u0000b", "~no-such-user/x"])
def test_a_path_that_is_none(problems: Problems, path: str) -> None:
    (problem,) = problems(sink("files", "").replace('"p"', f'"{path}"'))
    assert problem.startswith("site.toml:7: sinks[0].path: ")


def test_a_socket_path_that_the_kernel_would_refuse(problems: Problems) -> None:
    (problem,) = problems(sink("feed", "").replace('"p"', f'"{"p" * 108}"'))
    assert "sinks[0].path: is longer than the 107 bytes" in problem


@pytest.mark.parametrize("text", ["", EXCHANGE, EXCHANGE.replace("[[exchanges]]", "sinks = []\n[[exchanges]]")])
def test_no_sink(problems: Problems, text: str) -> None:
    assert "site.toml:1: sinks: must name at least one: write [[sinks]]" in problems(text)


def test_a_sink_without_a_type(problems: Problems) -> None:
    assert problems(f"{EXCHANGE}[[sinks]]\n") == ["site.toml:5: sinks[0].type: is missing; allowed: " + ALLOWED]


SPILLS = EXCHANGE + '[[sinks]]\ntype = "stdout"\nwhen_full = "spill"\n'


def test_a_sink_that_spills_needs_a_journal(problems: Problems, tmp_path: Path) -> None:
    (said,) = problems(SPILLS)
    assert said.startswith('site.toml:7: sinks[0].when_full: "spill" needs a journal, which keeps what does not fit')
    path = tmp_path / "good.toml"
    path.write_text(f'{SPILLS}[journal]\npath = "{tmp_path}/journal"\n')
    config = load_config(path, known_channels=known_channels)
    assert config.sinks[0].delivery.when_full == "spill"


def test_files_do_not_spill(problems: Problems) -> None:
    text = sink("files", 'when_full = "spill"') + '[journal]\npath = "j"\n'
    (said,) = problems(text)
    assert said.endswith('"spill" is not for files, as it takes records before it has written them')


def test_what_stands_twice(problems: Problems) -> None:
    text = EXCHANGE + EXCHANGE + SINK + SINK
    text += '[[sinks]]\ntype = "files"\npath = "data"\n[[sinks]]\ntype = "files"\npath = "./x/../data/"\n'
    text += '[[sinks]]\ntype = "feed"\npath = "data"\n'
    assert problems(text) == [
        'site.toml:6: exchanges[1].id: "binance" stands already at exchanges[0]',
        "site.toml:12: sinks[1].type: stdout stands already at sinks[0]",
        'site.toml:18: sinks[3].path: "./x/../data/" is already the path of sinks[2]',
    ]


def test_two_sinks_of_one_name(problems: Problems, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both would have one file of dead letters, one line of the status, and one place in the journal."""
    monkeypatch.setattr("aggregator.config.config.lacking", lambda *_: None)
    redis = '[[sinks]]\ntype = "redis"\nurl = "redis://127.0.0.1"\n'
    assert problems(EXCHANGE + redis + redis + redis + 'name = "latest"\n' + SINK + 'name = "latest"\n') == [
        'site.toml:9: sinks[1].type: "redis" is the name of sinks[0]: write a `name` here that no other has',
        'site.toml:17: sinks[3].name: "latest" is the name of sinks[2]: write a `name` here that no other has',
    ]


@pytest.mark.parametrize("paths", [("data", "data/inner"), ("./x/../data/a/b", "data"), ("/", "/data")])
def test_files_within_the_directory_of_others(problems: Problems, paths: tuple[str, str]) -> None:
    """The outer sink would look after the files of the inner one: repair, compress and remove them."""
    files = "".join(f'[[sinks]]\ntype = "files"\npath = "{path}"\n' for path in paths)
    (said,) = problems(EXCHANGE + files)
    inner = max(range(2), key=lambda at: len(os.path.abspath(paths[at])))  # noqa: PTH100 - they need not exist
    assert said.endswith(
        f"sinks[{inner}].path: lies within the path of sinks[{1 - inner}]: give each a directory of its own"
    )


def test_files_beside_others(problems: Problems) -> None:
    files = "".join(f'[[sinks]]\ntype = "files"\npath = "{path}"\n' for path in ("a", "ab", "a"))
    (said,) = problems(EXCHANGE + files)
    assert said.endswith('sinks[2].path: "a" is already the path of sinks[0]')


def test_what_stands_twice_is_named_beside_other_mistakes(problems: Problems) -> None:
    assert len(problems(EXCHANGE + EXCHANGE + "x = 1\n" + SINK)) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\nb = \n", "site.toml:2: is not TOML: Invalid value, column 5"),
        ("a = 1\n\n[[sinks", "site.toml:3: is not TOML: Expected ']]' at the end of an array declaration"),
        ("a = " + "[" * 5000, "site.toml:1: is n"),  # nested too deeply, or not TOML for that reason
        ("a = " + "9" * 5000, "site.toml:1: is not TOML: "),
        ("b = 1\n" + ".".join("a" * 200_000) + " = 1", "site.toml:2: is nested too deeply"),
        ("[" + " . ".join(["a"] * 200_000) + "]", "site.toml:1: is nested too deeply"),
        ("x = {" + '"a".' * 200_000 + "b = 1}", "site.toml:1: is nested too deeply"),
        ("a" * 900_000, "site.toml:1: is not TOML: "),
        ('x = "' + "a" * 900_000, "site.toml:1: is not TOML: "),
    ],
)
def test_what_is_not_toml(problems: Problems, text: str, said: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(said)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(b'a = 1\nb = "\xff"\n')
    with pytest.raises(ConfigErrors, match=r"site.toml:2: is not UTF-8$"):
        load_config(path, known_channels=OFFERED.get)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"none.toml: cannot be read: No such file or directory$"):
        load_config(tmp_path / "none.toml", known_channels=OFFERED.get)
    with pytest.raises(ConfigErrors, match=r"cannot be read: Is a directory$"):
        load_config(tmp_path, known_channels=OFFERED.get)
    with pytest.raises(ConfigErrors, match=r"/dev/zero: is longer than 1000000 bytes$"):
        load_config(Path("/dev/zero"), known_channels=OFFERED.get)


def test_a_message_stays_one_line_whatever_a_value_holds(problems: Problems) -> None:
    said = problems(with_id("a\\n\\u202e\\u001b[31m" + "x" * 5000) + '"k\\n" = 1')
    assert len(said) == 2
    assert all(line.isprintable() and len(line) < 300 for line in said)


def test_the_values_that_are_handed_on(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    config = load(
        """\
state = "~/state"
[[exchanges]]
id = "binance"
channels = ["trades", "candles_5m", "book", "candles", "candles_5m"]
symbols = ["BTC/USDT", "ETH/*", "BTC/USDT"]
endpoints = { "wss://a:9443/x" = "ws://127.0.0.1:8700" }
[[sinks]]
type = "files"
path = "~/data"
template = "{exchange}/{symbol}/{date}"
rotate_bytes = "64 MiB"
rotate_every = "15m"
compress = false
queue = 7
[[sinks]]
type = "feed"
path = "f.sock"
mode = 0o600
ring = 5
[[sinks]]
type = "stdout"
"""
    )
    (binance,) = config.exchanges
    assert binance.channels == ("trades", "candles", "book")
    assert binance.intervals == ("5m", "1m")
    assert binance.symbols == ("BTC/USDT", "ETH/*")
    assert binance.endpoints == {"wss://a:9443/x": "ws://127.0.0.1:8700"}
    assert config.state == Path("/home/me/state")
    assert [sink.delivery.queue for sink in config.sinks if sink.sink.has_queue] == [7, 100_000]
    assert tuple(sink.settings for sink in config.sinks) == (
        FilesSettings(
            path=Path("/home/me/data"),
            template="{exchange}/{symbol}/{date}",
            rotate_bytes=64 * 1024**2,
            rotate_every=900.0,
            compress=False,
        ),
        FeedKeys(listen=["unix:f.sock"], mode=0o600, ring=5),
        StdoutSettings(),
    )


@pytest.mark.parametrize(("text", "size"), [('"1KB"', 1000), ('"1k"', 1000), ('"3GiB"', 3 * 1024**3), ('"99"', 99)])
def test_sizes(load: Load, text: str, size: int) -> None:
    (files,) = load(sink("files", f"rotate_bytes = {text}")).sinks
    assert isinstance(files.settings, FilesSettings)
    assert files.settings.rotate_bytes == size


@pytest.mark.parametrize("mode", ['"0640"', '"640"', "0o640"])
def test_modes(load: Load, mode: str) -> None:
    (feed,) = load(sink("feed", f"mode = {mode}")).sinks
    assert isinstance(feed.settings, FeedKeys)
    assert feed.settings.mode == 0o640


def test_where_state_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_state() == Path("/var/lib/aggregator/state")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert default_state() == Path("/home/me/.local/state/aggregator")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/s")
    assert default_state() == Path("/home/me/s/aggregator")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")
    assert default_state() == Path("/var/lib/a/state")


@pytest.mark.parametrize("name", ["live", "service"])
def test_the_examples_name_the_seven_exchanges(name: str) -> None:
    config = load_config(ROOT / f"config/{name}.toml", known_channels=lambda _: ("trades", "book", "ticker"))
    assert [one.id for one in config.exchanges] == [
        "binance",
        "coinbaseexchange",
        "kraken",
        "okx",
        "bitstamp",
        "htx",
        "bit2c",
    ]
    assert {sink.sink.name for sink in config.sinks} == {"files", "feed"}, "no journal full of records"
    assert all(path.is_absolute() is (name == "service") for path in map(path_of, config.sinks))


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.toml")), ids=lambda path: path.stem)
def test_no_example_replaces_an_address(path: Path) -> None:
    config = load_config(path, known_channels=known_channels)
    assert [one.endpoints for one in config.exchanges if one.endpoints] == []


def test_the_service_runs_the_example_that_the_readme_installs() -> None:
    unit = (ROOT / "systemd/aggregator.service").read_text()
    readme = (ROOT / "README.md").read_text()
    (installed,) = re.findall(r"--example service --out (\S+)$", readme, re.MULTILINE)
    assert f"run --config {installed}\n" in unit
    sinks = load_config(ROOT / "config/service.toml", known_channels=known_channels).sinks
    state = re.findall(r"^StateDirectory=(\w+)$", unit, re.MULTILINE)
    listens = re.findall(r"^ListenStream=(/\S+)$", (ROOT / "systemd/aggregator.socket").read_text(), re.MULTILINE)
    given = {*(f"/var/lib/{name}" for name in state), *(str(Path(path).parent) for path in listens)}
    assert {str(path_of(sink).parent) for sink in sinks} == given


def test_the_full_configuration_holds_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "full.toml"
    path.write_text(WHOLE)
    config, plain = (load_config(p, known_channels=OFFERED.get) for p in (path, ROOT / "config/full.toml"))
    assert tuple(sink.settings for sink in config.sinks) == (
        FilesSettings(
            path=Path("/var/lib/aggregator/data"), keep=30 * 86400, keep_bytes=500 * 10**9, min_free=10 * 10**9
        ),
        StdoutSettings(),
        JournalSettings(path=Path("/var/lib/aggregator/journal")),
        FeedKeys(
            listen=["unix:/run/aggregator/feed.sock"],
            group=GROUP,
            tls_certificate=Path("/etc/aggregator/feed.pem"),
            tls_key=Path("/etc/aggregator/feed.key"),
            client_ca=Path("/etc/aggregator/clients.pem"),
        ),
    )
    assert config.log_level == plain.log_level == "info"
    assert config.state == Path("/var/lib/aggregator/state")
    assert [sink.settings for sink in plain.sinks] == [
        FilesSettings(path=Path("/var/lib/aggregator/data")),
        JournalSettings(path=Path("/var/lib/aggregator/journal")),
        FeedKeys(listen=["unix:/run/aggregator/feed.sock"]),
    ]
    for sink in (*config.sinks, *plain.sinks):
        assert structs.replace(sink.delivery, name=None, dead_letters=None) == sink.sink.defaults
    assert plain.sources == ()
    (source,) = config.sources
    assert source.reception == Reception()
    assert source.settings.url == "wss://feed.example:8791/feed"
    assert (source.settings.tls, source.settings.insecure) == (False, False)
    (whole,), (short,) = config.exchanges, plain.exchanges
    assert (whole.lifetime, whole.audit, whole.buckets) == (43200, 300, 2)
    assert (len(whole.endpoints), len(whole.credentials)) == (1, 2)
    assert structs.replace(whole, lifetime=None, audit=None, buckets=None, endpoints={}, credentials={}) == short


def test_every_channel_that_an_exchange_offers_is_named_beside_its_key() -> None:
    (row,) = re.findall(r"^\| `channels` \|.*$", (ROOT / "docs" / "configuration.md").read_text("utf-8"), re.MULTILINE)
    offered = {channel for id in connector_ids() for channel in known_channels(id) or ()}
    assert offered >= {"trades", "orders"}
    assert {channel for channel in offered if f"`{channel}`" not in row} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "config/sinks").glob("*.toml")), ids=lambda path: path.stem)
def test_the_example_of_a_sink_that_speaks_to_a_server(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.config.config.lacking", lambda *_: None)  # its client library need not be here
    config = load_config(path, known_channels=lambda _: ("trades", "bbo", "book", "ticker", "candles", "funding"))
    assert path.stem in [sink.sink.name for sink in config.sinks]


@pytest.mark.parametrize("path", sorted((ROOT / "docs/sinks").glob("*.md")), ids=lambda path: path.stem)
def test_the_configuration_that_the_page_of_a_sink_shows(
    path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggregator.config.config.lacking", lambda *_: None)
    (block,) = re.findall(r"```toml\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
    assert path.stem in [sink.sink.name for sink in load(EXCHANGE + block).sinks]


@pytest.mark.parametrize("path", sorted((ROOT / "config/sources").glob("*.toml")), ids=lambda path: path.stem)
def test_the_example_of_a_source_that_speaks_to_a_server(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.config.config.lacking", lambda *_: None)
    assert [source.source.name for source in load_config(path, known_channels=lambda _: ()).sources] == [path.stem]


@pytest.mark.parametrize("name", ["member", "reader"])
def test_the_example_of_a_cluster(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.config.config.lacking", lambda *_: None)
    config = load_config(ROOT / f"config/cluster/{name}.toml", known_channels=known_channels)
    assert (config.cluster is not None) == (name == "member")
    assert [source.settings.stream for source in config.sources] == (
        ["cluster-kraken", "cluster-okx"] if name == "reader" else []
    )


def test_the_example_of_what_a_cluster_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.config.config.lacking", lambda *_: None)
    shared = read_shared_file(ROOT / "config/cluster/shared.toml")
    config = load_config(ROOT / "config/cluster/member.toml", known_channels=known_channels, shared=shared)
    assert [exchange.id for exchange in config.exchanges] == ["kraken", "okx"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('name = "a"', r"cluster.nats: is missing"),
        ('nats = "nats://127.0.0.1:4222"', r"cluster.name: is missing"),
        ('nats = "http://127.0.0.1"\nname = "a"', r"cluster.nats.*nats://127.0.0.1:4222"),
        ('nats = "nats://127.0.0.1:4222"\nname = "a.b"', r"cluster.name"),
        (
            'nats = "nats://127.0.0.1:4222"\nname = "a"\nweigth = 2',
            r"cluster.weigth: is not a key here",
        ),
        ('nats = "nats://127.0.0.1:4222"\nname = "a"\nneeds = {okx = ["eu"]}', r"okx.*is not among the exchanges"),
        ('nats = "nats://127.0.0.1:4222"\nname = "a"\nweight = -1', r"cluster.weight: must be at least 0"),
        ('nats = "nats://127.0.0.1:4222"\nname = "a"\nbuckets = {okx = 2}', r"okx.*is not among the exchanges"),
        ('nats = "nats://127.0.0.1:4222"\nname = "a"\nbuckets = 0', r"cluster.buckets.*must be at least 1"),
        ('nats = "nats://127.0.0.1:4222"\nname = "a"\nbuckets = "4"', r"cluster.buckets: must be a"),
        ('nats = "nats://127.0.0.1:4222"\nname = "a"\nbuckets = {kraken = true}', r"cluster.buckets.*whole number"),
    ],
)
def test_what_is_wrong_with_a_cluster(keys: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.config.config.lacking", lambda *_: None)
    exchange = '[[exchanges]]\nid = "kraken"\nchannels = ["trades"]\nsymbols = ["*"]\n'
    path = tmp_path / "member.toml"
    path.write_text(f"{exchange}[cluster]\n{keys}\n")
    with pytest.raises(ConfigErrors, match=said):
        load_config(path, known_channels=known_channels)


def test_a_member_of_a_cluster_gathers_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.config.config.lacking", lambda *_: None)
    path = tmp_path / "member.toml"
    path.write_text(
        'workers = 2\n[cluster]\nnats = "nats://127.0.0.1:4222"\nname = "a"\n'
        '[[exchanges]]\nid = "kraken"\nchannels = ["trades"]\nsymbols = ["*"]\n'
    )
    with pytest.raises(ConfigErrors, match=r"workers: must be 1 in a member"):
        load_config(path, known_channels=known_channels)


def test_an_exchange_is_divided_among_workers_and_not_so_in_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggregator.config.config.lacking", lambda *_: None)
    path = tmp_path / "daemon.toml"
    exchange = '[[exchanges]]\nid = "kraken"\nchannels = ["trades"]\nsymbols = ["*"]\nbuckets = 2\n'
    path.write_text(f'workers = 2\n{exchange}[[sinks]]\ntype = "stdout"\n')
    (config,) = load_config(path, known_channels=known_channels).exchanges
    assert config.buckets == 2
    path.write_text(f'[cluster]\nnats = "nats://127.0.0.1:4222"\nname = "a"\n{exchange}')
    with pytest.raises(ConfigErrors, match=r"buckets: is for workers; members of a \[cluster\] have `buckets` of that"):
        load_config(path, known_channels=known_channels)


def test_a_member_of_a_cluster_needs_no_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.config.config.lacking", lambda *_: None)
    path = tmp_path / "member.toml"
    path.write_text(
        '[cluster]\nnats = "nats://127.0.0.1:4222"\nname = "a"\nneeds = {kraken = ["eu"]}\nlabels = ["eu"]\n'
        '[[exchanges]]\nid = "kraken"\nchannels = ["trades"]\nsymbols = ["*"]\n'
    )
    cluster = load_config(path, known_channels=known_channels).cluster
    assert cluster is not None
    assert (cluster.nats, cluster.needs, cluster.labels) == (("nats://127.0.0.1:4222",), {"kraken": ("eu",)}, ("eu",))


@pytest.mark.parametrize(("said", "kraken", "okx"), [("4", 4, 4), ("{kraken = 4}", 4, 1), ('{okx = 3, "*" = 2}', 2, 3)])
def test_a_cluster_divides_symbols_of_all_exchanges_or_of_some(
    said: str, kraken: int, okx: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggregator.config.config.lacking", lambda *_: None)
    path = tmp_path / "member.toml"
    exchanges = "".join(
        f'[[exchanges]]\nid = "{id}"\nchannels = ["trades"]\nsymbols = ["*"]\n' for id in ("kraken", "okx")
    )
    path.write_text(f'{exchanges}[cluster]\nnats = "nats://127.0.0.1:4222"\nname = "a"\nbuckets = {said}\n')
    cluster = load_config(path, known_channels=known_channels).cluster
    assert cluster is not None
    assert (cluster.buckets_of("kraken"), cluster.buckets_of("okx")) == (kraken, okx)


def test_a_source_of_buckets_stands_for_as_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.config.config.lacking", lambda *_: None)
    path = tmp_path / "reader.toml"
    table = '[[sources]]\ntype = "nats"\nservers = ["nats://127.0.0.1:4222"]\nprefix = "cluster.kraken{}"\n'
    sink = '[[sinks]]\ntype = "stdout"\n'
    path.write_text(f'{sink}{table.format("")}stream = "cluster-kraken"\nbuckets = 2\n')
    sources = load_config(path, known_channels=known_channels).sources
    assert [source.name for source in sources] == ["nats cluster.kraken-0of2", "nats cluster.kraken-1of2"]
    assert [source.settings.stream for source in sources] == ["cluster-kraken-0of2", "cluster-kraken-1of2"]
    path.write_text(f"{path.read_text()}{table.format('-1of2')}")
    with pytest.raises(ConfigErrors, match=r"is already the prefix of sources\[0\]"):
        load_config(path, known_channels=known_channels)


def test_each_sink_stands_in_the_full_configuration_or_has_an_example_of_its_own() -> None:
    assert {sink.name for sink in own_sinks()} - {*FIRST} == {path.stem for path in (ROOT / "config/sinks").glob("*")}


def test_a_sink_without_its_client_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggregator.sinks.registry.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r'nats needs the package nats.*: pip install "market-aggregator\[nats\]"'):
        load_config(ROOT / "config/sinks/nats.toml", known_channels=lambda _: ("trades", "bbo"))


@pytest.mark.parametrize("document", ["config/full.toml", "docs/configuration.md"])
def test_every_key_is_explained(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    shown = [sink for sink in own_sinks() if document != "config/full.toml" or sink.name in FIRST]
    owners: list[type[Struct]] = [Delivery, *(sink.settings for sink in shown)]
    sources = [each for each in own_sources() if document != "config/full.toml" or each.module is None]
    owners += [Reception, *(source.settings for source in sources)]
    keys = {
        *Document.model_fields,
        *ExchangeTable.model_fields,
        *(key.name for owner in owners for key in keys_of(owner)),
    }
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", text)] == []


def test_the_full_configuration_shows_every_key_of_every_sink() -> None:
    """`FULL=write` writes them anew, and the sources before them."""
    path = ROOT / "config/full.toml"
    text, shown = path.read_text("utf-8"), f"{sources_example()}\n\n{sinks_example()}"
    begin = text.index(shown.partition("[")[0])
    if os.environ.get("FULL") == "write":
        path.write_text(text[:begin] + shown, "utf-8")
    assert text[begin:] == shown, "FULL=write pytest tests/test_config.py -k every_key_of_every_sink"


def test_the_messages_in_the_documentation_are_those_that_are_printed(problems: Problems) -> None:
    text = """\
[[exchanges]]

id = "okex"
channels = ["trades"]
symbols = ["*"]
[[exchanges]]
id = "bittrex"
channels = ["trades"]
symbols = ["*"]
[[exchanges]]
id = "kraken"
channels = ["book", "trade"]
symbols = ["*"]
[[sinks]]
type = "files"
template = "{day}"
path = "data"
"""
    documented = re.findall(r"^site\.toml:.*$", (ROOT / "docs/configuration.md").read_text("utf-8"), re.MULTILINE)
    assert problems(text) == documented


VALUES = ["1", "-1", '""', '"a"', '"\\u0000"', "[]", "{}", "[[]]", "true", "nan", "1e400", "1979-05-27", "{a.b = 1}"]
LINES = [line for line in WHOLE.splitlines() if line and not line.startswith("#")]


def wrong_lines(path: Path) -> list[int]:
    """Read a file: the lines that are refused, none if it is as it should be; anything else is raised."""
    try:
        load_config(path, known_channels=OFFERED.get)
    except ConfigErrors as errors:
        return [problem.line or 0 for problem in errors.problems]
    return []


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(VALUES)), min_size=1, max_size=8))
@example([(LINES[0], '"~\\u0000"')])
def test_whatever_a_value_is_the_file_is_read_or_refused(tmp_path: Path, edits: list[tuple[str, str]]) -> None:
    changed = list(LINES)
    for line, value in edits:
        if "=" in line:
            changed[LINES.index(line)] = f"{line.split(' = ')[0]} = {value}"
    path = tmp_path / "site.toml"
    path.write_text("\n".join(changed), encoding="utf-8")
    assert all(1 <= line <= len(changed) for line in wrong_lines(path))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=40), st.integers(0, len(WHOLE)), st.integers(0, 40))
def test_whatever_bytes_a_file_holds_it_is_read_or_refused(tmp_path: Path, new: bytes, at: int, gone: int) -> None:
    whole = WHOLE.encode()
    path = tmp_path / "site.toml"
    path.write_bytes(whole[:at] + new + whole[at + gone :])
    assert all(line >= 1 for line in wrong_lines(path))


# --- the feed

OLD = '[[sinks]]\ntype = "feed"\npath = "./f.sock"\nring = 5\n'


def test_the_feed_has_a_table_of_its_own(load: Load) -> None:
    config = load(f'{EXCHANGE}[feed]\nlisten = ["unix:/run/f.sock", "tcp:127.0.0.1:8790"]\nring = 5\n')
    assert [sink.settings for sink in config.sinks] == [
        FeedKeys(listen=["unix:/run/f.sock", "tcp:127.0.0.1:8790"], ring=5)
    ]
    assert config.warnings == ()


def test_the_form_of_before_is_read_with_a_warning(load: Load) -> None:
    config = load(EXCHANGE + SINK + OLD)
    assert [sink.settings for sink in config.sinks] == [StdoutSettings(), FeedKeys(listen=["unix:./f.sock"], ring=5)]
    (warning,) = map(str, config.warnings)
    assert "sinks[1].type: warning: the feed has a table of its own now; write [feed] with listen = [" in warning


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("feed = 1\n", "feed", "must be a table"),
        ("[feed]\n", "feed.listen", "is missing"),
        ("[feed]\nlisten = []\n", "feed.listen", "must not be empty"),
        ('[feed]\nlisten = ["/run/f.sock"]\n', "feed.listen[0]", "is not an address; write"),
        (
            '[feed]\nlisten = ["tcp:0.0.0.0:1"]\n',
            "feed.insecure",
            "tcp:0.0.0.0:1 is refused: other machines",
        ),
        (
            '[feed]\nlisten = ["tcp:[::1]:1"]\nringg = 1\n',
            "feed.ringg",
            "origins, ring, tls_certificate, tls_key, tokens; did you mean",
        ),
        ('[feed]\nlisten = ["unix:a", "unix:a"]\n', "feed.listen[1]", '"unix:a" is listened at already'),
        (OLD.replace("./f.sock", "p" * 108), "sinks[1].path", "is longer than the 107 bytes"),
        (OLD + "ringg = 1\n", "sinks[1].ringg", "is not a key here"),
        (OLD + OLD, "sinks[2].path", '"unix:./f.sock" is listened at already'),
    ],
)
def test_mistakes_of_the_feed_are_named_where_they_stand(problems: Problems, text: str, place: str, said: str) -> None:
    whole = text + EXCHANGE + SINK if text.startswith("feed") else EXCHANGE + SINK + text
    (problem,) = problems(whole)
    assert f": {place}: " in problem
    assert said in problem


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ('control = "c.sock"', Path("c.sock")),
        ('control = "none"', None),
        ('state = "s"', Path("s/control.sock")),
    ],
)
def test_where_a_daemon_is_asked(line: str, path: Path | None, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    assert load(f"{line}\n{EXCHANGE}{SINK}").control == path


def test_a_control_socket_has_a_path_that_a_socket_may_have(problems: Problems) -> None:
    said = problems(f'control = "{"x" * 108}"\n{EXCHANGE}{SINK}')
    assert said == ["site.toml:1: control: is longer than the 107 bytes that a unix socket's path may have"]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("binanse", "binance"),
        ("Binance", "binance"),
        (" kraken ", "kraken"),
        ("bitstmp", "bitstamp"),
        ("gate.io", "gate"),  # a former name
        ("币安", "binance"),
        ("okex5", "okx"),  # near an id that gave way
        ("coinbasepro", "coinbaseexchange"),
        ("bitrex", "bittrex"),  # closed: the next message says so
        ("okcoin", "okxus"),
        ("idex", "idex"),  # its successor is not in the catalogue
        ("xqzw", None),
        ("", None),
        ("\0" * 10_000, None),
    ],
)
def test_the_closest_exchange(said: str, meant: str | None) -> None:
    assert closest(said) == meant


def test_the_feed_listens_where_a_socket_may_be(problems: Problems) -> None:
    said = problems(f'{EXCHANGE}[feed]\nlisten = ["unix:/{"x" * 107}"]\n')
    assert len(said) == 1
    assert said[0].endswith("listen[0]: is longer than the 107 bytes that a unix socket's path may have")
