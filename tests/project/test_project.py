"""What the project's own files promise: a lock without addresses, commands that exist, explained exceptions."""

import re
import tomllib
from pathlib import Path

import pytest

import aggregator

ROOT = Path(__file__).resolve().parents[2]
PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==\S+", re.MULTILINE)


def read(name: str) -> str:
    return (ROOT / name).read_text()


PROJECT = tomllib.loads(read("pyproject.toml"))


def make_targets(text: str) -> set[str]:
    return set(re.findall(r"\bmake ([a-z][a-z-]*)", text))


def readme_commands() -> set[str]:
    return make_targets("".join(re.findall(r"```sh\n(.*?)```", read("README.md"), re.DOTALL)))


def test_the_lock_names_no_address() -> None:
    lines = [line.strip() for line in read("constraints.txt").splitlines()]
    assert [line for line in lines if "://" in line or re.match("-(?!-hash=sha256:)", line)] == []


def test_everything_in_the_lock_is_hashed() -> None:
    entries = re.split(r"\n(?=[a-z0-9])", read("constraints.txt"))[1:]
    assert len(entries) == len(PINNED.findall(read("constraints.txt")))
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_every_dependency_is_in_the_lock() -> None:
    wanted = [
        *PROJECT["build-system"]["requires"],
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["test"],
    ]
    names = {re.split(r"[^A-Za-z0-9_-]", line)[0] for line in wanted}
    assert names - set(PINNED.findall(read("constraints.txt"))) == set()


def test_every_exception_of_the_linter_is_explained() -> None:
    section = read("pyproject.toml").partition("[tool.ruff.lint]")[2].partition("\n[tool.mypy")[0]
    codes = re.findall(r'^ +"[A-Z]+[0-9]+",(.*)$', section, re.MULTILINE)
    lint = PROJECT["tool"]["ruff"]["lint"]
    assert len(codes) == len(lint["ignore"]) + sum(map(len, lint["per-file-ignores"].values())), "one code a line"
    assert [code for code in codes if not re.fullmatch(r" # \S.*", code)] == []


def test_the_readme_shows_how_to_start() -> None:
    assert {"demo", "test"} <= readme_commands()


def test_every_command_that_is_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", read("Makefile"), re.MULTILINE))
    assert readme_commands() | make_targets(read(".ci/run")) <= targets


def test_the_version_is_one_that_packages_may_have() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", aggregator.__version__)


def test_the_packages_say_that_they_are_typed() -> None:
    assert all((ROOT / package / "py.typed").exists() for package in ("aggregator", "connectors"))


def test_no_page_or_module_holds_the_marks_of_a_merge() -> None:
    folders = ("aggregator", "bench", "config", "connectors", "docs", "examples", "tests")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.[mpt][dyo]*") if path.is_file()]
    assert len(paths) > 500
    marked = [path for path in (*paths, *ROOT.glob("*.md")) if re.search(rb"(?m)^(<{7}|>{7}) ", path.read_bytes())]
    assert marked == []


# --- tests that a busy machine does not break

MODULES = sorted((ROOT / "tests").rglob("test_*.py"))
CLOCK = r"(monotonic|perf_counter|process_time|thread_time|loop\.time)\(\)"
WAITING = re.compile(
    r"asyncio\.(timeout|wait_for|start_server)\(|time\.sleep\(|subprocess\.(run|Popen)\(|unused_port\("
    r"|TCPSite\(|toy import .*running"
)
IN_PASSING = {
    "test_init.py",
    "test_layers.py",
    "test_manual.py",
    "test_project.py",
    "test_wire.py",
}  # one program, whose end is awaited


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_test_asserts_how_long_a_thing_took(path: Path) -> None:
    """A guard against waiting for ever is none: `assert time.monotonic() < end`."""
    said = [
        line
        for line in path.read_text().splitlines()
        if "assert " in line and re.search(rf"{CLOCK}.* - | - .*{CLOCK}", line)
    ]
    assert said == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_what_waits_says_so(path: Path) -> None:
    text = path.read_text()
    if path.name not in IN_PASSING and WAITING.search(text):
        assert re.search(r"^pytestmark = (pytest\.mark\.waits$|\[pytest\.mark\.waits, )", text, re.MULTILINE)
