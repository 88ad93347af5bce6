"""Every base dependency is imported by the program, and nothing else is."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from aggregator.sinks.registry import OWN, find_sink

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = {sink.module: sink.name for name in OWN if (sink := find_sink(name)) is not None and sink.module is not None}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imports(node: ast.AST, *, in_functions: bool) -> Iterator[str]:
    """The packages that a module imports: when it is loaded, or in a function, or for its types alone."""
    for child in ast.iter_child_nodes(node):
        is_later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        )
        if isinstance(child, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module.partition(".")[0]
        elif in_functions or not is_later:
            yield from imports(child, in_functions=in_functions)


@cache
def modules() -> list[ast.Module]:
    paths = (*ROOT.glob("aggregator/**/*.py"), *ROOT.glob("connectors/**/*.py"))
    return [ast.parse(path.read_text("utf-8")) for path in paths]


@cache
def imported(*, in_functions: bool) -> frozenset[str]:
    """The packages that the program imports, but for Python's own and ours."""
    found = {name for tree in modules() for name in imports(tree, in_functions=in_functions)}
    return frozenset(found - set(sys.stdlib_module_names) - {"aggregator", "connectors"})


def packages(modules: frozenset[str]) -> set[str]:
    owners = packages_distributions()
    return {plain(owner) for name in modules for owner in owners.get(name, [name])}


def test_what_is_declared_is_what_is_imported() -> None:
    declared = {plain(re.split(r"[<>=!~;\s\[]", line, maxsplit=1)[0]) for line in PROJECT["dependencies"]}
    direct = packages(imported(in_functions=True) - MODULES.keys())
    assert declared - direct == set(), "declared, but the program does not import it"
    assert direct - declared - {"pydantic-core", "textual", "uvloop"} == set(), "imported, but not declared"
    assert PROJECT["optional-dependencies"]["top"] == ["textual>=8.2"]


def test_each_extra_stands_in_the_page_of_installing_with_its_size() -> None:
    text = (ROOT / "docs/install.md").read_text().partition("## Extras\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| .* \| \d+ MB \|$", text, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == PROJECT["optional-dependencies"].keys() - {
        "test"
    }


def test_the_client_library_of_a_sink_is_an_extra_of_its_name_and_imported_when_it_is_opened() -> None:
    assert set(MODULES.values()) <= PROJECT["optional-dependencies"].keys()
    assert MODULES.keys() <= imported(in_functions=True)
    assert MODULES.keys() & imported(in_functions=False) == set()
