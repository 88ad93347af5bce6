"""Every base dependency is imported by the program, and nothing else is."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_declared_is_what_is_imported() -> None:
    declared = {
        plain(re.split(r"[<>=!~;\s\[]", line, maxsplit=1)[0])
        for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    }
    imported: set[str] = set()
    for path in (*ROOT.glob("aggregator/**/*.py"), *ROOT.glob("connectors/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    owners = packages_distributions()
    foreign = imported - set(sys.stdlib_module_names) - {"aggregator", "connectors"}
    direct = {plain(owner) for name in foreign for owner in owners.get(name, [name])}
    assert declared - direct == set(), "declared, but the program does not import it"
    assert direct - declared - {"pydantic-core", "uvloop"} == set(), "imported, but not declared"
