"""The lines of keys: every path that tomllib reads has the line on which it stands."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from aggregator.config.toml_lines import KeyPath, key_lines, line_of

DOCUMENT = '''\
state = "a # not a comment"   # [[sinks]]
"odd.key" = 'x]'
site."a b".c = 1979-05-27 07:32:00
text = """
[[exchanges]]
id = "no\\"""" # five quotes are three and two
raw = \'\'\'
[sinks]\'\'\'

[[exchanges]]  # first
id = "one"
channels = [
  "trades",  # "book",
  "book", [1, 2],
]
[exchanges.endpoints]
"wss://a:1" = "ws://b"
[[exchanges]]
id = "two"
limits = { rate = 1, burst = { size = [5,
  6] } }
[[exchanges.rules]]
a = 1
[[exchanges.rules]]
a = 2
[ last . "one" ]
\tend=true'''

EXPECTED: dict[KeyPath, int] = {
    ("state",): 1,
    ("odd.key",): 2,
    ("site", "a b", "c"): 3,
    ("text",): 4,
    ("raw",): 7,
    ("exchanges", 0): 10,
    ("exchanges", 0, "id"): 11,
    ("exchanges", 0, "channels"): 12,
    ("exchanges", 0, "channels", 0): 13,
    ("exchanges", 0, "channels", 1): 14,
    ("exchanges", 0, "channels", 2, 1): 14,
    ("exchanges", 0, "endpoints"): 16,
    ("exchanges", 0, "endpoints", "wss://a:1"): 17,
    ("exchanges", 1): 18,
    ("exchanges", 1, "limits", "rate"): 20,
    ("exchanges", 1, "limits", "burst", "size", 1): 21,
    ("exchanges", 1, "rules", 0, "a"): 23,
    ("exchanges", 1, "rules", 1): 24,
    ("exchanges", 1, "rules", 1, "a"): 25,
    ("last", "one"): 26,
    ("last", "one", "end"): 27,
}


def paths(value: object, at: KeyPath = ()) -> set[KeyPath]:
    """Every path of a value that tomllib read."""
    below: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        below = list(value.items())
    elif isinstance(value, list):
        below = list(enumerate(value))
    return {at} - {()} | {path for key, held in below for path in paths(held, (*at, key))}


def test_every_key_stands_on_its_line() -> None:
    lines = key_lines(DOCUMENT)
    assert {path: lines.get(path) for path in EXPECTED} == EXPECTED
    assert set(lines) == paths(tomllib.loads(DOCUMENT))


def test_windows_line_ends_count_once() -> None:
    assert key_lines("a = 1\r\n\r\n[b]\r\nc = 2\r\n") == {("a",): 1, ("b",): 3, ("b", "c"): 4}


def test_a_missing_key_stands_where_it_would_be() -> None:
    lines = key_lines("a = 1\n[b]\nc = 2\n")
    assert line_of(lines, ("b", "missing", 3)) == 2
    assert line_of(lines, ("missing",)) == 1
    assert line_of({}, ()) == 1


SCALARS = st.sampled_from(
    ["1", "0o17", "true", "1.5e3", "''", '""', '"a]}\\",#"', "'[['", "'''\nx'''", '"""\\"\n"""', "07:32:00"]
)
KEYS = st.sampled_from(["a", "-", "1", '"b.c"', "'d e'", '"\\u0041"', "x . y", "x . z"])


def array(items: list[str]) -> str:
    return "[" + " ,\n # ]\n".join(items) + "]"


def inline(keys: list[str], value: str) -> str:
    return "{" + ", ".join(f"{key} = {value}" for key in keys) + "}"


VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(array) | st.builds(inline, st.lists(KEYS, max_size=3, unique=True), inner)
    ),
    max_leaves=6,
)
TABLES = st.lists(st.tuples(st.sampled_from(["t", "t.u", '"t v"']), st.lists(st.tuples(KEYS, VALUES), max_size=3)))


@given(TABLES)
def test_whatever_tomllib_reads_is_found(tables: list[tuple[str, list[tuple[str, str]]]]) -> None:
    text = "\n".join(f"[[{name}]]\n" + "\n".join(f"{key} = {value}" for key, value in pairs) for name, pairs in tables)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # a key that stands twice
        return
    assert set(key_lines(text)) == paths(document)
