"""The layers of docs/architecture.md, kept by reading every module's imports."""

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# From the ground up. A module may import its own layer and those below, and nothing above.
# A name stands for a module or a package with all that is in it; the longest name that fits decides.
LAYERS: dict[str, tuple[str, ...]] = {
    # the files at the top of aggregator/ are what a connector may import
    "words": (
        "aggregator",  # the package itself: its version; what is not named here has no layer
        "aggregator.errors",
        "aggregator.records",
        "aggregator.wire",
    ),
    "rules": ("aggregator.book", "aggregator.sequence"),
    "contract": ("aggregator.exchange", "aggregator.refusals", "aggregator.simulation"),
    "knowledge": ("connectors",),
    # and everything else lives in a room
    "session": ("aggregator.session",),
    "bus": ("aggregator.bus",),
    "derived": ("aggregator.derived",),
    "leases": tuple(
        f"aggregator.cluster.{name}" for name in ("buckets", "lease", "positions", "ranking", "share", "writer")
    ),
    "ingest": ("aggregator.ingest",),
    "capture": ("aggregator.capture",),
    "tables": ("aggregator.tables",),
    "outlets": ("aggregator.sinks", "aggregator.feed", "aggregator.client"),
    "sources": ("aggregator.sources",),
    "cluster": ("aggregator.cluster",),
    "catalog": ("aggregator.catalog",),
    "research": ("aggregator.research",),
    "backfill": ("aggregator.backfill",),
    "config": ("aggregator.config",),
    "sandbox": ("aggregator.sandbox",),
    "daemon": ("aggregator.daemon",),
    "docgen": ("aggregator.docgen",),
    "command line": ("aggregator.cli", "aggregator.__main__"),
}
ORDER = list(LAYERS)
# Pairs of rooms of which one imports the other; a file at the top of aggregator/ counts as a room.
MOST_ARROWS = 90  # among the rooms of the daemon, the connectors and the commands
# Rooms beside these, and how many arrows begin or end in each.
BESIDE = {"backfill": 9, "cluster": 10, "research": 11, "sources": 12, "tables": 7}
PURE = (*ORDER[: ORDER.index("session") + 1], "derived", "leases")  # no I/O, no clock, no logging: time is an argument
LOADERS = ("aggregator.catalog.registry", "aggregator.sandbox")  # of connectors, by id

# fmt: off
IMPURE_MODULES = frozenset({
    "aiohttp", "asyncio", "concurrent", "fcntl", "ftplib", "glob", "http.client", "http.server", "io", "logging",
    "mmap", "multiprocessing", "os", "pathlib", "picows", "python_socks", "queue", "requests", "sched", "select",
    "selectors", "shutil", "signal", "smtplib", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "syslog",
    "tempfile", "threading", "time", "urllib.request", "uvloop", "websockets",
})
# fmt: on
IMPURE_CALLS = frozenset({"breakpoint", "input", "open", "print"})
CLOCK_READERS = frozenset({"now", "today", "utcnow"})  # of datetime and date

# Ids of exchanges that are words of the field, of English or of Python as well.
ORDINARY_WORDS = {
    "delta": "the change of a book",
    "gate": "what lets through or holds back",
    "liquid": "said of a market",
    "xt": "a file mode: create, as text",
}


def modules(package: str) -> dict[str, Path]:
    files = {path.relative_to(ROOT).with_suffix(""): path for path in sorted((ROOT / package).rglob("*.py"))}
    return {".".join(name.parts).removesuffix(".__init__"): path for name, path in files.items()}


OURS = modules("aggregator") | modules("connectors")


def within(module: str, names: tuple[str, ...] | frozenset[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def layer(module: str) -> str | None:
    fits = [
        (len(name), layer_name)
        for layer_name, names in LAYERS.items()
        for name in names
        if module == name or (module.startswith(f"{name}.") and name != "aggregator")
    ]
    return max(fits)[1] if fits else None


def imports(module: str, tree: ast.AST) -> Iterator[str]:
    """Every module that is imported, wherever it says so; `from a import b` gives `a.b` if that is a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}, line {node.lineno}: write the import in full, `from aggregator...`"
            source = str(node.module)
            for alias in node.names:
                full = f"{source}.{alias.name}"
                yield full if full in OURS or within(full, IMPURE_MODULES) else source


def upward(module: str, tree: ast.AST) -> list[str]:
    own = layer(module)
    assert own is not None
    below = ORDER[: ORDER.index(own) + 1]
    ours = [name for name in imports(module, tree) if within(name, ("aggregator", "connectors"))]
    wrong = [name for name in ours if layer(name) not in below]
    if own != "knowledge" and not within(module, LOADERS):
        wrong += [name for name in ours if within(name, ("connectors",))]
    return [f"{module} ({own}) imports {name} ({layer(name) or 'no layer'})" for name in dict.fromkeys(wrong)]


def room(module: str) -> str:
    """The folder or the file at the top that a module lies in; the program's entry is of the command line."""
    first, _, rest = module.partition(".")
    return first if first == "connectors" else rest.partition(".")[0].replace("__main__", "cli")


@cache
def arrows() -> frozenset[tuple[str, str]]:
    """Which room imports which. The package itself, which holds the version, is no room.

    Three modules name others without importing them, and are not counted: `sinks/registry.py` finds sinks by entry
    point, `docgen/limits.py` looks constants up for its page, and `docgen/schema.py` the feed's messages.
    """
    pairs = {(room(module), room(name)) for module in OURS for name in imports(module, parsed(module)) if name in OURS}
    return frozenset((one, other) for one, other in pairs if one != other and one and other)


def impure(module: str, tree: ast.AST) -> list[str]:
    found = [f"{module} imports {name}" for name in imports(module, tree) if within(name, IMPURE_MODULES)]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        call = ast.unparse(node.func)
        owner, _, name = call.rpartition(".")
        if call in IMPURE_CALLS or (name in CLOCK_READERS and owner.rpartition(".")[2] in {"date", "datetime"}):
            found.append(f"{module}, line {node.lineno}, calls {call}()")
    return found


def connector_names(tree: ast.AST) -> list[int]:
    """The lines of texts that name the package of connectors, as `import_module` takes them."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"connectors(\.\S*)?", node.value)
    ]


def words(text: str) -> set[str]:
    """The words of an identifier or a text, lower case: `OkxBook`, `okx_book` and `"okx: book"` give the same two."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)
    return {word.lower() for word in [*re.findall(r"[A-Za-z0-9]+", spaced), *re.findall(r"[A-Za-z0-9]+", text)]}


def named_exchanges(source: str, ids: frozenset[str]) -> Iterator[str]:
    """Ids in names and texts, docstrings too; comments are free to say where a fact is from."""
    comments = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in comments:
            yield from (f"line {token.start[0]}: {word}" for word in sorted(words(token.string) & ids))


def exchange_ids() -> frozenset[str]:
    entries = json.loads((ROOT / "aggregator/data/exchanges.json").read_text())
    return frozenset(entry["id"].removeprefix("_") for entry in entries) - ORDINARY_WORDS.keys()


@cache
def parsed(module: str) -> ast.AST:
    return ast.parse(OURS[module].read_text())


def test_there_are_modules_to_check() -> None:
    assert {"aggregator", "aggregator.records", "connectors"} <= OURS.keys()


def test_every_module_has_a_layer() -> None:
    remedy = "add it to LAYERS in tests/project/test_layers.py and to docs/architecture.md"
    assert [module for module in OURS if not layer(module)] == [], remedy


def test_imports_go_down() -> None:
    assert [wrong for module in OURS if layer(module) for wrong in upward(module, parsed(module))] == []


def test_few_rooms_import_each_other() -> None:
    """A file in the wrong room, or an import that could be spared, is an arrow too many."""
    among = [arrow for arrow in arrows() if BESIDE.keys().isdisjoint(arrow)]
    assert 40 < len(among) <= MOST_ARROWS, sorted(among)
    for room, most in BESIDE.items():
        touching = [arrow for arrow in arrows() if room in arrow]
        assert 2 < len(touching) <= most, sorted(touching)


def test_no_rooms_import_each_other_in_a_circle() -> None:
    """Rooms of one layer may import each other; the layers alone would let them do so both ways."""
    needs: dict[str, set[str]] = {}
    for one, other in arrows():
        needs.setdefault(one, set()).add(other)
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of rooms: {' -> '.join(error.args[1])}")
    assert order.index("records") < order.index("exchange") < order.index("session") < order.index("cli")


def test_no_io_and_no_clock_below_the_io_layer() -> None:
    assert [wrong for module in OURS if layer(module) in PURE for wrong in impure(module, parsed(module))] == []


def test_a_family_imports_no_family() -> None:
    families = [module for module in OURS if within(module, ("connectors.families",))]
    assert len(families) > 8
    wrong = [
        f"{module} imports {name}"
        for module in families
        for name in imports(module, parsed(module))
        if within(name, ("connectors.families",)) and not within(name, (family(module),))
    ]
    assert wrong == []


def family(module: str) -> str:
    """The package of a family that a module lies in, or the module itself where it is a whole family."""
    return ".".join(module.split(".")[:3])


def test_only_the_top_loads_connectors() -> None:
    naming = [
        f"{module}, line {line}"
        for module in modules("aggregator")
        if not within(module, LOADERS)
        for line in connector_names(parsed(module))
    ]
    assert naming == [], f"they name the connectors; only {', '.join(LOADERS)} may"


def test_no_module_names_an_exchange() -> None:
    ids = exchange_ids()
    named = [module for module in modules("aggregator") if words(module) & ids]
    assert named == [], "they are named for an exchange"
    naming = [
        f"{module}, {place}"
        for module, path in modules("aggregator").items()
        for place in named_exchanges(path.read_text(), ids)
    ]
    assert naming == [], "what is one exchange's alone belongs in connectors/"


def test_ordinary_words_are_ids() -> None:
    entries = json.loads((ROOT / "aggregator/data/exchanges.json").read_text())
    assert ORDINARY_WORDS.keys() <= {entry["id"] for entry in entries}


# The checks above pass on sound code whether or not they work; these show that they catch what is wrong.


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("aggregator.records", "import aggregator.book", "(words) imports aggregator.book (rules)"),
        ("aggregator.book", "from aggregator import session", "(rules) imports aggregator.session (session)"),
        (
            "aggregator.session.session",
            "def f():\n    from aggregator.ingest.runner import run",
            "imports aggregator.ingest.runner",
        ),
        ("aggregator.session.session", "import connectors.kraken", "imports connectors.kraken (knowledge)"),
        ("aggregator.sinks.files", "from connectors import kraken", "imports connectors"),
        ("aggregator.bus.bus", "import aggregator.cli.run", "imports aggregator.cli.run (command line)"),
        (
            "connectors.kraken",
            "from aggregator.session.session import Session",
            "imports aggregator.session.session (session)",
        ),
        ("connectors.kraken", "import aggregator.unheard_of", "imports aggregator.unheard_of (no layer)"),
    ],
)
def test_an_import_upward_is_caught(module: str, source: str, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OURS, "aggregator.session.session", ROOT / "aggregator/session/session.py")
    assert complaint in " ".join(upward(module, ast.parse(source)))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("aggregator.wire", "from aggregator.errors import BadFrame"),
        ("connectors.kraken", "from connectors.families import okx\nfrom aggregator.exchange import Exchange"),
        ("aggregator.ingest.runner", "import asyncio, aggregator.session.session"),
    ],
)
def test_an_import_downward_is_let_through(module: str, source: str) -> None:
    assert upward(module, ast.parse(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "from urllib.request import urlopen",
        "from urllib import request",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.utcnow()",
        "import datetime\ndatetime.date.today()",
        "def f(path):\n    return open(path)",
        "print(1)",
    ],
)
def test_io_and_clocks_are_caught(source: str) -> None:
    assert len(impure("connectors.kraken", ast.parse(source))) == 1


def test_pure_code_is_let_through() -> None:
    source = "from urllib.parse import urlencode\nfrom datetime import datetime\ndef f(book, now): book.open(now)"
    assert impure("connectors.kraken", ast.parse(source)) == []


@pytest.mark.parametrize(
    ("source", "caught"),
    [
        ('import_module("connectors")', 1),
        ('import_module(f"connectors.{id}")', 1),
        ('"""All connectors declare one."""', 0),
    ],
)
def test_loading_by_name_is_caught(source: str, caught: int) -> None:
    assert len(connector_names(ast.parse(source))) == caught


@pytest.mark.parametrize(
    ("source", "caught"),
    [
        ('if exchange == "kraken": pass', ["line 1: kraken"]),
        ("class KrakenBook: pass", ["line 1: kraken"]),
        ("\nkraken_book = 1", ["line 2: kraken"]),
        ('f"{x} on Kraken"', ["line 1: kraken"]),
        ("bit2c = 1", ["line 1: bit2c"]),
        ("krakens = book_delta  # kraken", []),
    ],
)
def test_the_name_of_an_exchange_is_caught(source: str, caught: list[str]) -> None:
    assert list(named_exchanges(source, frozenset({"kraken", "bit2c"}))) == caught


def hidden(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Fields that have the name of something that the annotations of their class use."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            used = {name.id for each in fields for name in ast.walk(each.annotation) if isinstance(name, ast.Name)}
            yield from (
                (f.lineno, f.target.id) for f in fields if isinstance(f.target, ast.Name) and f.target.id in used
            )


@pytest.mark.parametrize("room", ["aggregator", "connectors", "bench"])
def test_no_class_has_a_field_named_as_a_type_that_its_annotations_use(room: str) -> None:
    """From Python 3.14 on annotations are read late: `list: list[int]` then means the field, and fails at import."""
    modules = sorted((ROOT / room).rglob("*.py"))
    assert modules
    found = [
        f"{m.relative_to(ROOT)}:{line}: {name}" for m in modules for line, name in hidden(ast.parse(m.read_text()))
    ]
    assert not found, found


TWO_MEANINGS = {"Refused": "an exchange's word against a topic, and a sink's word against records"}


def test_a_class_name_means_one_thing() -> None:
    found: dict[str, list[str]] = {}
    for module in modules("aggregator"):
        for node in ast.walk(parsed(module)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(module)
    assert len(found) > 200
    assert {name: where for name, where in found.items() if len(where) > 1}.keys() == TWO_MEANINGS.keys()


def test_such_a_field_would_be_found() -> None:
    assert list(hidden(ast.parse("class A:\n    x: int\n    list: 'str'\n    rows: list[int]"))) == [(3, "list")]
