"""The configurations that come with the program, and the ways to name one on the command line."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aggregator.cli import group
from aggregator.cli.init import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]


def run(*words: object) -> Result:
    return CliRunner().invoke(group, [str(word) for word in words])


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_the_file_of_the_checkout_and_has_no_mistake(name: str, tmp_path: Path) -> None:
    printed = run("init", "--example", name)
    assert (printed.exit_code, printed.stdout) == (0, (ROOT / f"config/{name}.toml").read_text())
    path = tmp_path / "new" / "site.toml"
    written = run("init", "--example", name, "--out", path)
    assert (written.exit_code, written.stdout) == (0, "")
    assert path.read_text() == printed.stdout
    assert f"aggregator check {path}" in written.stderr
    assert run("check", path).exit_code == 0


def test_every_configuration_of_the_checkout_is_an_example() -> None:
    assert {path.stem for path in (ROOT / "config").glob("*.toml")} == set(EXAMPLES)


def test_a_file_that_exists_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text("mine\n")
    done = run("init", "--out", path)
    assert (done.exit_code, path.read_text()) == (1, "mine\n")
    assert f"{path} exists already" in done.stderr


def test_a_configuration_is_made_of_what_is_named(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    named = ("--exchange", "kraken", "--exchange", "binance", "--symbol", "ETH/*", "--channel", "trades")
    made = run("init", *named, "--files", tmp_path / "data", "--feed", f"unix:{tmp_path}/f.sock", "--out", path)
    assert made.exit_code == 0, made.stderr
    values = tomllib.loads(path.read_text())
    assert [table["id"] for table in values["exchanges"]] == ["kraken", "binance"]
    assert all((table["symbols"], table["channels"]) == (["ETH/*"], ["trades"]) for table in values["exchanges"])
    assert (values["sinks"][0]["path"], values["feed"]["listen"]) == (f"{tmp_path}/data", [f"unix:{tmp_path}/f.sock"])
    assert path.read_text().count("# ") > 5
    assert run("check", path).exit_code == 0


def test_a_configuration_is_made_of_answers() -> None:
    answers = "okx, kraken\nBTC/USDT\n\n\nunix:x.sock\n"
    made = CliRunner().invoke(group, ["init", "--ask"], input=answers)
    values = tomllib.loads(made.stdout)
    assert [(table["id"], table["channels"]) for table in values["exchanges"]] == [
        ("okx", ["trades", "book"]),
        ("kraken", ["trades", "book"]),
    ]
    assert values["feed"]["listen"] == ["unix:x.sock"]


def test_what_cannot_be_made_is_said() -> None:
    wrong = run("init", "--exchange", "krakn", "--channel", "trade")
    assert wrong.exit_code == 78
    assert 'did you mean "kraken"?' in wrong.stderr
    assert wrong.stdout == ""
    assert run("init", "--example", "live", "--exchange", "kraken").exit_code == 2
    assert run("init", "--symbol", "BTC/*").exit_code == 2


def test_the_wheel_holds_the_examples(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        for name in EXAMPLES:
            held = wheel.read(f"aggregator/data/examples/{name}.toml")
            assert held == (ROOT / f"config/{name}.toml").read_bytes()


# --- naming a configuration


def test_a_configuration_is_named_with_or_without_its_option() -> None:
    path = ROOT / "config/live.toml"
    said = {run("check", *words).stderr for words in ([path], ["-c", path], ["--config", path])}
    assert said == {f"{path}: 7 exchanges, 2 sinks, no mistake\n"}


def test_one_of_a_thing_is_said_of_one(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(
        '[[exchanges]]\nid = "kraken"\nchannels = ["trades"]\nsymbols = ["*"]\n[[sinks]]\ntype = "stdout"\n'
    )
    assert run("check", path).stderr == f"{path}: 1 exchange, 1 sink, no mistake\n"


@pytest.mark.parametrize("command", ["check", "run", "capture"])
def test_none_and_two_are_a_wrong_use_that_names_them(command: str, tmp_path: Path) -> None:
    more = ["--out", tmp_path] if command == "capture" else []
    none = run(command, *more)
    assert none.exit_code == 2
    assert "name the configuration: FILE" in none.stderr
    two = run(command, "a.toml", "-c", "b.toml", *more)
    assert two.exit_code == 2
    assert "b.toml and a.toml" in two.stderr


# --- words that newcomers try


def test_help_is_a_command_as_well() -> None:
    assert run("help").stdout == run("--help").stdout
    assert run("help", "tail").stdout == run("tail", "--help").stdout
    assert run("help", "nosuch").exit_code == 2


def test_the_version_is_had_by_a_letter() -> None:
    assert run("-V").stdout == run("--version").stdout
