"""A configuration of several files, and its JSON Schema."""

import os
import tomllib
from pathlib import Path

import jsonschema
import pytest

from aggregator.catalog.registry import known_channels
from aggregator.config.config import Config, ConfigErrors, load_config
from aggregator.config.json_schema import json_schema
from aggregator.config.parts import MOST_FILES
from aggregator.config.schema import Document, ExchangeTable

ROOT = Path(__file__).parents[2]
SHARED = ROOT / "config/cluster/shared.toml"  # no whole configuration: tests/config/test_config.py looks at it
EXAMPLES = sorted({*(ROOT / "config").rglob("*.toml")} - {SHARED})
EXCHANGE = '[[exchanges]]\nid = "{}"\nchannels = ["trades"]\nsymbols = ["*"]\n'
SINK = '[[sinks]]\ntype = "stdout"\n'
FEED = '[feed]\nlisten = ["unix:feed.sock"]\n'


def write(directory: Path, **files: str) -> Path:
    """A configuration: `main`, and the others beside it, by name."""
    (directory / "conf.d").mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / ("site.toml" if name == "main" else f"conf.d/{name}.toml")).write_text(text)
    return directory / "site.toml"


def load(directory: Path, **files: str) -> Config:
    return load_config(write(directory, **files), known_channels=known_channels)


def problems(directory: Path, **files: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(directory, **files)
    return str(caught.value).replace(f"{directory}/", "").splitlines()


def test_files_of_conf_d_add_to_the_file_beside_them_in_the_order_of_their_names(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        main='version = 1\nlog_level = "error"\n' + EXCHANGE.format("kraken"),
        b=EXCHANGE.format("binance") + FEED,
        a=f"version = 1\n{EXCHANGE.format('okx')}{SINK}",
    )
    assert [exchange.id for exchange in found.exchanges] == ["kraken", "okx", "binance"]
    assert [sink.sink.name for sink in found.sinks] == ["stdout", "feed"]
    assert found.log_level == "error"


def test_what_is_no_configuration_there_is_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path, main=EXCHANGE.format("kraken") + SINK)
    for name in (".hidden.toml", "old.toml.bak", "README"):
        (tmp_path / "conf.d" / name).write_text("nonsense")
    assert len(load_config(path, known_channels=known_channels).exchanges) == 1


def test_a_key_that_stands_in_two_files_names_both(tmp_path: Path) -> None:
    said = problems(
        tmp_path,
        main='log_level = "info"\n' + EXCHANGE.format("kraken") + FEED,
        a='log_level = "info"\n',
        b=SINK + FEED,
    )
    assert said == [
        "conf.d/a.toml:1: log_level: stands in site.toml too: only one file may say it",
        "conf.d/b.toml:3: feed: stands in site.toml too: only one file may say it",
    ]


def test_mistakes_are_told_at_their_place_in_their_file(tmp_path: Path) -> None:
    said = problems(
        tmp_path,
        main=EXCHANGE.format("kraken") + SINK,
        a=EXCHANGE.format("okx") + EXCHANGE.format("kraken"),
        b=f'{SINK}colour = "red"\n',
    )
    assert said == [
        'conf.d/a.toml:6: exchanges[1].id: "kraken" stands already at exchanges[0] of site.toml',
        *(line for line in said[1:] if line.startswith("conf.d/b.toml:")),
    ]
    assert "conf.d/b.toml:2: sinks[0].type: stdout stands already at sinks[0] of site.toml" in said[1:]
    assert any(line.startswith("conf.d/b.toml:3: sinks[0].colour: is not a key here") for line in said[1:])
    assert len(said) == 3


def test_every_file_that_is_no_toml_or_of_a_later_version_is_named(tmp_path: Path) -> None:
    said = problems(tmp_path, main="version = 1\n[[", a="version = 99\n", b="x = \n")
    assert [line.partition(":")[0] for line in said] == ["site.toml", "conf.d/a.toml", "conf.d/b.toml"]


def test_a_pipe_that_nobody_writes_to_keeps_nobody_waiting(tmp_path: Path) -> None:
    (tmp_path / "conf.d/b.toml").parent.mkdir()
    os.mkfifo(tmp_path / "conf.d/b.toml")
    (tmp_path / "conf.d/c.toml").mkdir()
    assert problems(tmp_path, main=SINK) == [
        f"conf.d/{name}.toml: is no file: a directory, a pipe or a device" for name in "bc"
    ]


def test_more_files_than_anybody_writes_are_refused(tmp_path: Path) -> None:
    files = {f"f{number}": "" for number in range(MOST_FILES + 1)}
    assert problems(tmp_path, main=SINK, **files) == [f"conf.d: holds more than {MOST_FILES} files"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_right_by_the_rules_and_by_the_schema(path: Path) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    values = tomllib.loads(path.read_text("utf-8"))
    assert [error.message for error in validator.iter_errors(values)] == []
    try:
        load_config(path, known_channels=known_channels)
    except ConfigErrors as errors:  # a client library, or a group, that this machine may lack
        said = [problem.text for problem in errors.problems]
        assert all("is not installed" in text or "is not a group of this machine" in text for text in said), said


def test_the_schema_is_one_and_has_every_key() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) == {*Document.model_fields, "journal", "feed"}
    assert set(schema["$defs"]["ExchangeTable"]["properties"]) == set(ExchangeTable.model_fields)


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ('[[sinks]]\ntype = "files"\npath = "x"\nrotate_every = "1h"\nrotate_bytes = "1MB"\n', True),
        ('[[sinks]]\ntype = "files"\n', False),
        ('[[sinks]]\ntype = "fles"\n', False),
        ('[[sinks]]\ntype = "stdout"\npath = "x"\n', False),
        ('[[exchanges]]\nid = "kraken"\nchannels = ["trades"]\nsymbols = "*"\n', False),
        ('[feed]\nlisten = ["unix:x"]\nmode = "0660"\n', True),
        ('[feed]\ntype = "feed"\nlisten = ["unix:x"]\n', False),
    ],
)
def test_the_schema_tells_what_is_right_from_what_is_not(text: str, is_right: bool) -> None:
    assert jsonschema.Draft202012Validator(json_schema()).is_valid(tomllib.loads(text)) is is_right
