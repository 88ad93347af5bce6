"""The words of the schema: each is said somewhere, so that no reader waits for one that never comes."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import inspect

from aggregator.records import RECORD_TYPES, Record, defaults

ROOT = Path(__file__).resolve().parents[2]
# Fields whose words are ordinary texts of the program, too ("book" is a channel): only their own place counts.
PARTICULAR = ("flags", "origin", "price_kind")


def words_of(kind: inspect.Type) -> list[str]:
    match kind:
        case inspect.LiteralType(values=values):
            return [str(value) for value in values]
        case inspect.UnionType(types=kinds):
            return [word for one in kinds for word in words_of(one)]
        case inspect.VarTupleType(item_type=item):
            return words_of(item)
    return []


def texts(tree: ast.AST) -> set[str]:
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def said_of(field: str, tree: ast.AST) -> Iterator[str]:
    """The texts that code gives to a field: as an argument, by an assignment, or through `with_flag`."""
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg=name, value=value) if name == field:
                yield from texts(value)
            case ast.Assign(targets=[ast.Attribute(attr=name)], value=value) if name == field:
                yield from texts(value)
            case ast.arguments(kwonlyargs=names, kw_defaults=values):
                yield from (t for a, v in zip(names, values, strict=True) if a.arg == field and v for t in texts(v))
            case ast.Call(func=ast.Name(id="with_flag")) if field == "flags":
                yield from texts(node)


def modules() -> Iterator[ast.AST]:
    for room in ("aggregator", "connectors"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if path != ROOT / "aggregator/records.py":
                yield ast.parse(path.read_text())


class Said:
    """The texts of some code: all of them, and those that it gives to each particular field."""

    def __init__(self, trees: Iterable[ast.AST]) -> None:
        self.anywhere: set[str] = set()
        self.of: dict[str, set[str]] = {field: set() for field in PARTICULAR}
        for tree in trees:
            self.anywhere |= texts(tree)
            for field, found in self.of.items():
                found.update(said_of(field, tree))


def unsaid(record: type[Record], said: Said) -> list[str]:
    info = inspect.type_info(record)
    assert isinstance(info, inspect.StructType)
    usual = defaults(record)
    found: list[str] = []
    for field in info.fields:
        there = said.of.get(field.name, said.anywhere)
        found += [
            f"{field.name}: {word}"
            for word in words_of(field.type)
            if word != usual.get(field.name) and word not in there
        ]
    return found


def test_every_word_of_the_schema_is_said() -> None:
    said = Said(modules())
    assert {record.__name__: left for record in RECORD_TYPES if (left := unsaid(record, said))} == {}


def test_a_word_that_nobody_says_would_be_found() -> None:
    from aggregator.records import Gap

    assert "cause: sequence" in unsaid(Gap, Said([ast.parse("x = 'disconnect'")]))
    assert "flags: late" in unsaid(Gap, Said([ast.parse("late = 'late'")]))
    assert "flags: late" not in unsaid(Gap, Said([ast.parse("with_flag(record, 'late')")]))
