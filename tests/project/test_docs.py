"""The generated pages: fresh, complete, and complaining when the code says too little; the written ones: true."""

import ast
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

import msgspec
import pytest
from click.testing import CliRunner, Result

from aggregator import docgen as docs
from aggregator.catalog.catalog import load_catalog, load_countries
from aggregator.cli import COMMANDS, group
from aggregator.docgen.by_country import LANGUAGES, Language, load_words
from aggregator.docgen.declared import book_mode, checksum, duration, limits
from aggregator.docgen.exchanges import exchanges_page
from aggregator.docgen.known import KnownExchange, load_known
from aggregator.docgen.limits import BORDERS, Bound, _constants, in_words, unlisted, value_of
from aggregator.docgen.markdown import cell, link, table
from aggregator.docgen.records import describe, json_type, own_fields, records_page, undescribed
from aggregator.exchange import Exchange, Limits, Listing, Poll, Request, Snapshot, Stream, Subscription
from aggregator.records import (
    CHANNEL_OF,
    DERIVED_OF,
    RECORD_TYPES,
    BookSnapshot,
    Channel,
    Flags,
    Instrument,
    Record,
    defaults,
)
from aggregator.sequence import linked
from aggregator.session.moment import Now
from aggregator.session.session import Session

ROOT = Path(__file__).resolve().parents[2]
PAGES, COMPLAINTS = docs.make_pages(group, COMMANDS)
MOMENT = Now(1, 1)


def run(*words: str) -> Result:
    return CliRunner().invoke(group, ["docs", *words])


# --- the pages of the repository


def test_nothing_in_the_code_is_left_unsaid() -> None:
    assert COMPLAINTS == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_fresh(name: str) -> None:
    assert docs.stale({name: PAGES[name]}, ROOT / "docs") == [], f"run `{docs.COMMAND}`"


def test_pages_do_not_depend_on_what_ran_before() -> None:
    CliRunner().invoke(group.get_command(None, "docs"), ["-h"])  # type: ignore[arg-type]  # click keeps its help option
    assert docs.make_pages(group, COMMANDS)[0] == PAGES


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    shown = re.findall(r"(?:^|`)aggregator ([a-z]+)", page.read_text(), re.MULTILINE)
    assert set(shown) <= COMMANDS.keys()


@pytest.mark.parametrize("name", [*PAGES, "symbols.md", "add-an-exchange.md", "index.md", "glossary.md", "python.md"])
def test_tables_are_even_and_pages_end_with_a_line(name: str) -> None:
    text = (ROOT / "docs" / name).read_text()
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    bars: list[int] = []
    for line in text.splitlines():
        bars = [*bars, len(re.findall(r"(?<!\\)\|", line))] if line.startswith("|") else []
        assert len(set(bars)) <= 1, line


@pytest.mark.parametrize(
    "page", [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md"))], ids=lambda page: page.name
)
def test_a_link_between_pages_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_index() -> None:
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages == set(re.findall(r"\]\(([a-z.-]+\.md)\)", (ROOT / "docs/index.md").read_text()))


# --- writing and checking


def test_pages_are_written_then_fresh_then_stale(tmp_path: Path) -> None:
    out = tmp_path / "new" / "docs"
    assert {path.name for path in docs.write(PAGES, out)} == PAGES.keys()
    assert docs.write(PAGES, out) == []
    assert docs.stale(PAGES, out) == []
    (out / "cli.md").write_text("old\n")
    (out / "records.md").unlink()
    assert {path.name for path in docs.stale(PAGES, out)} == {"cli.md", "records.md"}


def test_the_check_names_stale_pages_and_what_mends_them(tmp_path: Path) -> None:
    result = run("--check", "--out", str(tmp_path))
    assert result.exit_code == 1
    assert f"{tmp_path}/records.md is stale" in result.stderr
    assert f"mend it with: aggregator docs --out {tmp_path}" in result.stderr
    assert list(tmp_path.iterdir()) == []
    assert result.stdout == ""


def test_the_check_is_content_with_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs, "make_pages", lambda *_: (PAGES, []))
    assert run("--out", str(tmp_path)).exit_code == 0
    result = run("--check", "--out", str(tmp_path))
    assert (result.exit_code, result.output) == (0, "")


def test_a_complaint_fails_the_command_even_where_pages_are_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs, "make_pages", lambda *_: ({"a.md": "a\n"}, ["Trade: the docstring says nothing of 'x'"]))
    assert run("--out", str(tmp_path)).exit_code == 1
    result = run("--check", "--out", str(tmp_path))
    assert result.exit_code == 1
    assert "nothing of 'x'" in result.stderr
    assert "stale" not in result.stderr


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "cli.md").mkdir()
    result = run("--out", str(tmp_path / "docs"))
    assert result.exit_code == 1
    assert f"{tmp_path}/docs/cli.md: Is a directory" in result.stderr


# --- records


class Sound(Record, tag="sound", kw_only=True):
    """All is said here.

    a: the first,
        on two lines
    b: see [`a`|`b`]
    """

    a: str
    b: Literal["x", "y"] | None = None


class Forgotten(Record, tag="forgotten", kw_only=True):
    """A field without a line.

    a: the first
    """

    a: str
    b: int = 0


class Invented(Record, tag="invented", kw_only=True):
    """A line without a field, and one that is none.

    a: the first
    z: nothing has this name
    and this is no line at all
    """

    a: str


class Silent(Record, tag="silent", kw_only=True):
    a: str


def test_a_docstring_is_read() -> None:
    found = describe(Sound)
    assert found.summary == "All is said here."
    assert found.meanings == {"a": "the first, on two lines", "b": "see [`a`|`b`]"}
    assert own_fields(Sound) == ["a", "b"]
    assert undescribed((Sound,)) == []


@pytest.mark.parametrize(
    ("record", "complaints"),
    [
        (Forgotten, ["says nothing of 'b'"]),
        (Invented, ["no field 'z'", "not a line `name: meaning`: 'and this is no line at all'"]),
        (Silent, ["no docstring", "says nothing of 'a'"]),
    ],
)
def test_what_docstring_and_fields_do_not_share_is_named(record: type[Record], complaints: list[str]) -> None:
    found = undescribed((record,))
    assert len(found) == len(complaints)
    assert all(expected in said for expected, said in zip(complaints, found, strict=True))
    assert all(record.__name__ in said for said in found)


@pytest.mark.parametrize("record", [Record, *RECORD_TYPES], ids=lambda record: record.__name__)
def test_every_record_is_described(record: type[Record]) -> None:
    assert undescribed((record,)) == []
    assert set(own_fields(record)) == describe(record).meanings.keys()


def test_the_page_of_records_has_every_type_with_its_channel_and_fields() -> None:
    sections = re.split(r"^### ", records_page(), flags=re.MULTILINE)[1:]
    assert len(sections) == len(RECORD_TYPES)
    for section, record in zip(sections, RECORD_TYPES, strict=True):
        assert section.startswith(f"`{record.__struct_config__.tag}`")
        channel = CHANNEL_OF.get(record) or DERIVED_OF.get(record)
        assert f"Channel: `{channel}`" in section if channel else "unasked" in section
        assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == own_fields(record)


def test_the_values_of_a_field_are_all_named() -> None:
    page = records_page()
    assert all(f"`{channel}`" in page for channel in get_args(Channel))
    assert "| `side` | string | left out | the taker's; `buy` or `sell` |" in page
    assert "| `bids` | array of [string, string] |  |" in page
    assert "| `flags` | array of strings | left out |" in page
    assert "STRIKE-(C\\|P)" in page


def test_the_example_is_a_record() -> None:
    example = re.search(r"```json\n(.*)\n```", records_page())
    assert example
    record = msgspec.json.decode(example[1], type=RECORD_TYPES[0])
    assert isinstance(record, Record)
    assert example[1].encode() == msgspec.json.encode(record)
    assert None not in json.loads(example[1]).values()


def test_a_type_that_has_no_word_is_an_error() -> None:
    assert json_type(msgspec.inspect.type_info(Flags)) == "array of strings"
    with pytest.raises(TypeError, match="no word for"):
        json_type(msgspec.inspect.type_info(set[str]))


# --- exchanges


def parse(_frame: bytes) -> tuple[()]:
    return ()


def request(raw_symbol: str) -> Request:
    return Request(f"https://toy.example/{raw_symbol}")


def read(raw_symbol: str, _body: bytes) -> BookSnapshot:
    return BookSnapshot(raw_symbol=raw_symbol, bids=[], asks=[])


def stream(**changes: object) -> Stream:
    given = {"channels": {"book": "b"}, "subscribe": lambda _wanted, _id: (), "parse": parse}
    return Stream(**(given | changes))  # type: ignore[arg-type]


def toy(*feeds: Stream | Poll, allowed: Limits | None = None, notes: tuple[str, ...] = ()) -> Exchange:
    return Exchange(
        id="binance",
        docs="https://toy.example/a(b)",
        feeds=feeds,
        listing=Listing(),
        limits=allowed or Limits(),
        notes=notes,
    )


POLL = Poll(channels=("book",), every=5, request=request, parse=lambda _symbol, _body: ())


@pytest.mark.parametrize(
    ("feeds", "mode", "guard"),
    [
        ((stream(),), "whole book in the stream, all levels, unnumbered", "no"),
        (
            (stream(snapshot=Snapshot(request=request, parse=read), depth=25, sequence={"book": linked}),),
            "deltas, whole book by REST, 25 levels, linked",
            "no",
        ),
        (
            (stream(snapshot=Snapshot(ask=lambda _symbol, _id: b""), checksum=lambda _book: 0),),
            "deltas, whole book asked for on the socket, all levels, unnumbered",
            "yes",
        ),
        ((stream(), stream(name="other")), "whole book in the stream, all levels, unnumbered", "no"),
        (
            (stream(checksum=lambda _book: 0), stream(depth=5)),
            "whole book in the stream, all levels, unnumbered; whole book in the stream, 5 levels, unnumbered",
            "on some streams",
        ),
        ((POLL,), "polled every 5 s", "no"),
        ((stream(channels={"trades": "t"}),), "", ""),
        ((stream(channels={"trades": "t"}, checksum=lambda _book: 0), POLL), "polled every 5 s", "no"),
        ((), "", ""),
    ],
)
def test_book_and_checksum_are_as_declared(feeds: tuple[Stream | Poll, ...], mode: str, guard: str) -> None:
    assert (book_mode(toy(*feeds)), checksum(toy(*feeds))) == (mode, guard)


def test_limits_are_as_declared() -> None:
    allowed = Limits(weights={"https://a.example/v1": ((6000, 60),)}, connects=(300, 300), lifetime=86_400)
    assert limits(toy(stream(per_connection=10), allowed=allowed)) == (
        "10 topics a connection; 300 connections in 5 min; a connection lives 24 h; REST weight 6000 in 60 s"
    )
    both = Limits(weights={"https://a.example": ((1, 1),), "https://b.example/v2": ((5, 0.5),)})
    assert limits(toy(stream(per_connection=9), stream(per_connection=30), POLL, allowed=both)) == (
        "9 to 30 topics a connection; REST weight 1 in 1 s (a.example); REST weight 5 in 0.5 s (b.example/v2)"
    )
    assert limits(toy(POLL)) == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.25, "0.25 s"),
        (60, "60 s"),
        (90, "90 s"),
        (120, "2 min"),
        (3600, "60 min"),
        (86_400, "24 h"),
        (172_800, "2 d"),
    ],
)
def test_durations_are_said_in_whole_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_the_page_of_exchanges_has_a_row_for_each_with_the_live_ones_first() -> None:
    page = PAGES["exchanges.md"]
    live, over = page.split("## Closed, renamed, dropped")
    rows = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert sorted(rows) == list(load_catalog())
    alive = {entry.id for entry in load_catalog().values() if entry.status == "live"}
    assert alive <= set(re.findall(r"^\| `([^`]+)` \|", live, re.MULTILINE))
    assert re.search(r"^\| `okex` .*\| renamed \| 2022-01 \| `okx` \|", over, re.MULTILINE)
    assert re.search(r"^\| `bittrex` .*\| closed \| 2023-12-04 \|", over, re.MULTILINE)


def test_notes_stand_below_the_table_and_what_has_a_connector_is_never_among_the_ended() -> None:
    entry = load_catalog()["wazirx"]  # dropped from the lists, and trading
    noted = toy(POLL, notes=("Sizes are\n  in lots.", "A second."))
    page = exchanges_page(
        [
            KnownExchange(load_catalog()["ace"], None),
            KnownExchange(entry, noted),
            KnownExchange(load_catalog()["okx"], None),
        ]
    )
    live, over = page.split("## Closed, renamed, dropped")
    assert re.findall(r"^\| `(\w+)`", live, re.MULTILINE) == ["okx", "wazirx"]
    assert "- Sizes are in lots.\n- A second.\n" in live
    assert "[docs](https://toy.example/a%28b%29)" in live
    assert re.findall(r"^\| `(\w+)`", over, re.MULTILINE) == ["ace"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pages_by_country_have_every_country_and_every_exchange_in_each_of_its_own(language: Language) -> None:
    page = PAGES["exchanges-by-country.md" if language == "en" else f"exchanges-by-country.{language}.md"]
    sections = {part.splitlines()[0]: part for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:]}
    expected: dict[str, set[str]] = {}
    for entry in load_catalog().values():
        for code in entry.countries:
            country = load_countries()[code]
            expected.setdefault(f"{country.zh if language == 'zh' else country.en} ({code})", set()).add(entry.id)
        if not entry.countries:
            expected.setdefault(load_words()[language].nowhere, set()).add(entry.id)
    assert sections.keys() == expected.keys()
    for name, section in sections.items():
        assert set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)) == expected[name]


def test_the_chinese_page_is_chinese() -> None:
    page = PAGES["exchanges-by-country.zh.md"]
    assert "## 日本 (JP)" in page
    assert "[币安 Binance](https://www.binance.com) | 运营中 |" in page
    assert re.search(r"^\| `okex` \| .* \| 已更名 \| 2022-01 → okx \|", page, re.MULTILINE)
    assert not re.search(r"\| (live|closed|renamed|ws) \|", page)


def test_the_live_ones_of_a_country_come_first() -> None:
    section = PAGES["exchanges-by-country.md"].split("## Australia (AU)")[1].split("## ")[0]
    statuses = re.findall(r"^\| `.* \| (live|closed|dropped) \|", section, re.MULTILINE)
    assert statuses == sorted(statuses, key=lambda status: status != "live")
    assert {"live", "closed"} <= set(statuses)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_status_and_transport_has_a_word(language: Literal["en", "zh"]) -> None:
    words = load_words()[language]
    entries = load_catalog().values()
    assert {entry.status for entry in entries} <= words.statuses.keys()
    assert {entry.transport for entry in entries} - {None} <= words.transports.keys()


@pytest.mark.parametrize("fault", ["raises", "declares nothing", "is unknown"])
def test_a_broken_connector_is_named_and_hides_no_other(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(id: str) -> Exchange | None:
        if id == "kraken" and fault == "raises":
            raise ImportError("no wire")
        return toy(POLL) if id != "kraken" else None

    ids = ["binance", "nowhere" if fault == "is unknown" else "kraken"]
    monkeypatch.setattr("aggregator.docgen.known.connector_ids", lambda: ids)
    monkeypatch.setattr("aggregator.docgen.known.load_exchange", load)
    known, complaints = load_known()
    assert [one.entry.id for one in known if one.exchange is not None] == ["binance"]
    assert len(complaints) == 1
    assert ids[1] in complaints[0]


def test_a_broken_command_is_named_and_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aggregator.cli.check", None)
    pages, complaints = docs.make_pages(group, COMMANDS)
    assert [complaint for complaint in complaints if "'check'" in complaint]
    assert "## `aggregator check`" not in pages["cli.md"]
    assert "## `aggregator normalize`" in pages["cli.md"]


def test_the_page_of_commands_shows_options_and_fits_its_width() -> None:
    page = PAGES["cli.md"]
    assert "--check" in page.split("## `aggregator docs`")[1]
    assert max(map(len, page.split("# Commands")[1].splitlines())) <= 100


def test_markdown_cannot_be_broken_by_what_stands_in_a_cell() -> None:
    assert cell("a|b\n<c>  d") == "a\\|b &lt;c> d"
    assert table(("x",), [("1",), ("2|3",)]) == "| x |\n| --- |\n| 1 |\n| 2\\|3 |\n"
    assert link("a", "https://x.example/(y) z") == "[a](https://x.example/%28y%29%20z)"


# --- the example of docs/add-an-exchange.md


@pytest.fixture(scope="module")
def example() -> Iterator[ModuleType]:
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs/add-an-exchange.md").read_text(), re.DOTALL)
    assert code
    module = ModuleType("example_connector")
    sys.modules[module.__name__] = module  # where msgspec looks annotations up
    exec(compile(code[1], "docs/add-an-exchange.md", "exec"), module.__dict__)  # noqa: S102 - our own page
    yield module
    del sys.modules[module.__name__]


def test_the_example_connector_gives_what_its_frames_say(example: ModuleType) -> None:
    text = (ROOT / "docs/add-an-exchange.md").read_text().split("## 3.")[1]
    block = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert block
    lines = [json.loads(line) for line in block[1].splitlines()]
    assert len(lines) == 3
    listing = example.EXCHANGE.listing
    for line in lines:
        if "rest" in line:
            events = [listing.read(row) for row in listing.rows(line["body"].encode())]
        else:
            events = list(example.parse(line["frame"].encode()))
        for event, gives in zip(events, line["gives"], strict=True):
            if "event" in gives:
                assert gives == {"event": type(event).__name__, "reason": event.reason, "topic": event.topic}
            else:
                assert event == msgspec.convert(gives, type(event))


def test_the_example_connector_passes_over_what_is_of_no_use_and_nothing_else(example: ModuleType) -> None:
    assert list(example.parse(b'{"ch":"news","text":"hello"}')) == []
    assert list(example.parse(b'{"text":"hello"}')) == []
    with pytest.raises(msgspec.ValidationError):
        example.parse(b'{"ch":"trade","sym":"BTCUSDT"}')


def test_the_example_connector_holds_a_conversation(example: ModuleType) -> None:
    [spot] = example.EXCHANGE.streams
    instrument = Instrument(raw_symbol="BTCUSDT", symbol="BTC/USDT")
    session = Session("example", spot, conn="example/main.1#1", instruments={"BTCUSDT": instrument})
    session.open(MOMENT)
    frames = [
        b'{"ch":"ping"}',
        b'{"ch":"depth","sym":"BTCUSDT","seq":5,"bids":[["1","2"]],"asks":[["3","4"]],"whole":true}',
        b'{"ch":"depth","sym":"BTCUSDT","seq":6,"bids":[["1","0"]],"asks":[]}',
        b'{"ch":"depth","sym":"BTCUSDT","seq":8,"bids":[],"asks":[]}',
    ]
    records = [record for frame in frames for record in session.receive([frame], MOMENT)]
    assert [type(record).__name__ for record in records] == ["BookSnapshot", "BookDelta", "Gap"]
    assert session.outbox[0] == b'{"op":"pong"}'
    assert session.bad == 0


# --- the transcript of docs/how-a-session-works.md

SAME = {
    "exchange": "example",
    "symbol": "BTC/USDT",
    "raw_symbol": "BTCUSDT",
    "conn": "example/main.1#1",
}  # on every one


def played(example: ModuleType, transcript: str) -> Iterator[str]:
    """Play what a transcript says that happens, and write what comes of it."""
    [spot] = example.EXCHANGE.streams
    session = Session(
        "example",
        spot,
        conn="example/main.1#1",
        instruments={"BTCUSDT": Instrument(raw_symbol="BTCUSDT", symbol="BTC/USDT")},
        subscriptions=[Subscription("book", "BTCUSDT")],
    )
    for line in transcript.splitlines():
        if line[0] not in "0123456789":
            continue
        yield line
        time, happens = line.split(maxsplit=1)
        tenths = int(time.replace(".", ""))
        now = Now((17_000_000_000 + tenths) * 10**8, (1 + tenths) * 10**8)
        records = session.open(now) if happens == "open" else session.receive([happens.encode()], now)
        while session.outbox:
            frame = session.outbox.popleft()
            session.sent(frame, now)
            yield f"  > {frame.decode()}"
        for record in records:
            assert {name: getattr(record, name) for name in SAME} == SAME
            told = json.loads(msgspec.json.encode(record))
            shown = {
                k: v
                for k, v in told.items()
                if k not in SAME and (k == "type" or (defaults(type(record)) | {"source": "ws"}).get(k) != v)
            }
            yield f"  = {msgspec.json.encode(shown).decode()}"


def test_the_transcript_is_what_a_session_gives(example: ModuleType) -> None:
    page = (ROOT / "docs/how-a-session-works.md").read_text()
    found = re.search(r"<!-- transcript -->\n```text\n(.*?)```", page, re.DOTALL)
    assert found
    assert "".join(f"{line}\n" for line in played(example, found[1])) == found[1]
    assert [found[1].count(f'"phase":"{phase}"') for phase in ("open", "close")] == [1, 1]


# --- limits


def test_every_bound_in_the_code_is_explained_and_every_one_explained_is_in_the_code() -> None:
    assert list(unlisted()) == []
    assert all(value_of(bound) > 0 for bounds in BORDERS.values() for bound in bounds)
    names = [bound.name for bounds in BORDERS.values() for bound in bounds]
    assert len(names) == len(set(names))


def test_a_bound_that_nobody_explains_is_found() -> None:
    assert list(_constants("MOST_X = 1\nLONGEST = 2\nDEEPEST = 3\nother = 4\nMOSTLY = 5")) == [
        "MOST_X",
        "LONGEST",
        "DEEPEST",
    ]


def test_a_bound_that_is_gone_from_the_code_is_no_page() -> None:
    with pytest.raises(AttributeError):
        value_of(Bound("ingest.lines.NOT_THERE", "bytes", "", ""))
    with pytest.raises(AttributeError):
        value_of(Bound("feed.settings.FeedSettings.not_there", "bytes", "", ""))


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (32 * 2**20, "bytes", "32 MiB"),
        (107, "bytes", "107 bytes"),
        (600_000_000_000, "ns", "600 s"),
        (7 * 86400.0, "seconds", "7 d"),
        (0.2, "seconds", "0.2 s"),
        (100_000, "topics", "100,000 topics"),
    ],
)
def test_a_bound_in_words(value: float, unit: str, words: str) -> None:
    assert in_words(value, unit) == words


# --- prose: a docstring and a comment are sentences, or name a thing; none begins as a subordinate clause does

FRAGMENT = re.compile(r"(#:? ?)?(what|who|whose|as|of|whether|that|which)\b", re.IGNORECASE)


def fragments(source: str) -> Iterator[str]:
    """Docstrings, and comments behind code, that begin with such a word."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            if FRAGMENT.match(text):
                yield text.splitlines()[0]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        is_behind_code = not token.line.lstrip().startswith("#")
        if token.type == tokenize.COMMENT and is_behind_code and FRAGMENT.match(token.string):
            yield token.string


@pytest.mark.parametrize(
    "module", [*(ROOT / "aggregator").rglob("*.py"), *(ROOT / "connectors").rglob("*.py")], ids=str
)
def test_no_comment_begins_as_a_fragment(module: Path) -> None:
    """The records are exempt: their docstrings are the tables of docs/records.md."""
    if module.name != "records.py":
        assert list(fragments(module.read_text())) == [], "give it a subject and a verb"


def test_a_fragment_would_be_found() -> None:
    assert len(list(fragments('"""What reads."""\nX = 1  # of bytes\n# of bytes\nY = 2  # bytes of a line'))) == 2
