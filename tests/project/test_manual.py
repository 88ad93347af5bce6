"""The pages of the manual: one for each command, whole, and without a sign that man would take for its own."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from aggregator.cli import COMMANDS, group
from aggregator.docgen.man import _inline, _of_markdown, _plain, manual_pages

PAGES = manual_pages(group, COMMANDS)


def shown(page: str) -> str:
    """What a reader sees, as far as words go."""
    text = re.sub(r"\\f[BR]|\\&", "", page).replace("\\-", "-").replace("\\e", "\\")
    return re.sub(r"\\\[u([0-9A-F]{4,6})\]", lambda found: chr(int(found[1], 16)), text)


def test_every_command_has_a_page_and_the_program_and_its_configuration() -> None:
    assert PAGES.keys() == {"aggregator.1", "aggregator.toml.5", *(f"aggregator-{name}.1" for name in COMMANDS)}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_says_what_the_parser_knows(name: str) -> None:
    page = shown(PAGES[f"aggregator-{name}.1"])
    command = group.get_command(click.Context(group), name)
    assert command is not None
    within = command.commands.values() if isinstance(command, click.Group) else []
    for each in (command, *within):
        options = [option for option in each.params if isinstance(option, click.Option)]
        assert [option.opts[0] for option in options if option.opts[0] not in page] == []
        assert " ".join((each.help or "").partition("\n\n")[0].replace("`", "").split()) in page
    assert f"aggregator-{name} - {COMMANDS[name].rstrip('.')}\n" in page


def test_the_page_of_the_configuration_has_every_key() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|", (Path(__file__).parents[2] / "docs/configuration.md").read_text(), re.MULTILINE
    )
    assert len(rows) > 50
    page = shown(PAGES["aggregator.toml.5"])
    assert [key for key in rows if f"\n{key}\n" not in page] == []
    assert not re.search(r"<!--|^\| |```|\]\(", page, re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("reader", ["mandoc", "groff"])
def test_man_has_nothing_to_complain_of(reader: str, name: str, tmp_path: Path) -> None:
    if shutil.which(reader) is None:
        pytest.skip(f"{reader} is not installed")
    (tmp_path / name).write_text(PAGES[name])
    command = {"mandoc": ["mandoc", "-T", "lint", "-W", "warning"], "groff": ["groff", "-man", "-ww", "-z", "-Tutf8"]}[
        reader
    ]
    run = subprocess.run([*command, name], cwd=tmp_path, capture_output=True, text=True, check=False)
    said = [line for line in (run.stdout + run.stderr).splitlines() if "missing date" not in line]
    assert said == [], "pages have no date, so that they are the same each time"


def test_what_man_would_take_for_its_own_is_text() -> None:
    assert _plain(".SH no heading") == "\\&.SH no heading"
    assert _plain("'tis a \\ and --json") == "\\&'tis a \\e and \\-\\-json"
    assert _inline("**bold**, `a|b` and [a link](x.md)") == "\\fBbold\\fR, \\fBa|b\\fR and a link"
    assert list(_of_markdown("# T\n\n- one\n- two\n\n```sh\n.x\n```\n")) == [
        ".IP \\(bu 2",
        "one",
        ".IP \\(bu 2",
        "two",
        *(".PP", ".RS 4", ".nf", "\\&.x", ".fi", ".RE"),
    ]


def test_the_command_writes_them_and_names_a_place_where_it_cannot(tmp_path: Path) -> None:
    result = CliRunner().invoke(group, ["docs", "--man", str(tmp_path / "man")])
    assert result.exit_code == 0
    assert {path.name: path.read_text() for path in (tmp_path / "man").iterdir()} == PAGES
    (tmp_path / "man/aggregator.1").unlink()
    (tmp_path / "man/aggregator.1").mkdir()
    result = CliRunner().invoke(group, ["docs", "--man", str(tmp_path / "man")])
    assert result.exit_code == 1
    assert "aggregator.1: Is a directory" in result.stderr
