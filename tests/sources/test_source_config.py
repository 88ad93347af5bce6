"""`[[sources]]` of a configuration: what is read, and which mistakes are named."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from aggregator.cli import group
from aggregator.config.config import Config, ConfigErrors, load_config

EXCHANGE = '[[exchanges]]\nid = "binance"\nchannels = ["trades"]\nsymbols = ["*"]\n'
SINK = '[[sinks]]\ntype = "stdout"\n'
TWICE = """\
url = "tcp:[::1]:1"
topics = ["book:okx:*"]
[[sources]]
type = "feed"
url = "tcp:[::1]:2"
topics = ["book:okx:*"]"""
Load = Callable[[str], Config]
Problems = Callable[[str], list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    path = tmp_path / "site.toml"

    def loaded(text: str) -> Config:
        path.write_text(text)
        return load_config(path, known_channels={"binance": {"trades"}}.get)

    return loaded


@pytest.fixture
def problems(load: Load, tmp_path: Path) -> Problems:
    """What is said of a text, a line each, without the directory."""

    def said(text: str) -> list[str]:
        with pytest.raises(ConfigErrors) as caught:
            load(text)
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return said


def source(lines: str) -> str:
    """A whole file whose lines behind the second belong to a source."""
    return f'[[sources]]\ntype = "feed"\n{lines}\n{SINK}'


def test_with_a_source_no_exchange_is_needed(load: Load) -> None:
    config = load(source('url = "tcp:127.0.0.1:8790"\ntopics = ["trades:*:*"]\nbackoff = "2s"'))
    (found,) = config.sources
    assert config.exchanges == ()
    assert found.name == "feed tcp:127.0.0.1:8790"
    assert (found.reception.topics, found.reception.backoff) == (("trades:*:*",), 2.0)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "1: sources[0].url: is missing"),
        ('url = "nowhere:1"', '3: sources[0].url: "nowhere:1" is no address of a feed; write "tcp:HOST:PORT"'),
        ('url = "wss://user:password@host/feed"', "3: sources[0].url: an address of the web holds no @"),
        (
            'url = "tcp:127.0.0.1:1"\nurls = 1',
            "4: sources[0].urls: is not a key here; allowed: backoff, ca, certificate",
        ),
        ('url = "tcp:127.0.0.1:1"\ntopics = ["trade:*:*"]', "4: sources[0].topics: 'trade' is not a channel"),
        ('url = "tcp:127.0.0.1:1"\ntopics = ["bbo.book:*:*"]', "4: sources[0].topics: 'bbo.book' is not a channel"),
        ('url = "tcp:127.0.0.1:1"\ntoken = "sesame"', "4: sources[0].token: must say where the key is, not hold it"),
        (
            'url = "tcp:192.0.2.1:1"\ntoken = "env:TOKEN"',
            "1: sources[0].insecure: tcp:192.0.2.1:1: the token would travel there for everyone on the way to read",
        ),
        (
            'url = "unix:/run/feed.sock"\ntls = true',
            "1: sources[0].insecure: unix:/run/feed.sock: a unix socket speaks no",
        ),
        (
            'url = "tcp:127.0.0.1:1"\n[[sources]]\ntype = "feed"\nurl = "tcp:127.0.0.1:1"',
            "6: sources[1].url: is already the url of sources[0]",
        ),
        (
            'url = "tcp:127.0.0.1:1"\n[feed]\nlisten = ["tcp:127.0.0.1:1"]',
            "3: sources[0].url: is where this very daemon listens",
        ),
        (
            'url = "tcp:127.0.0.1:1"\ntopics = ["trades:binance:*"]\n' + EXCHANGE,
            "4: sources[0].topics[0]: binance is gathered by this daemon itself (exchanges[0])",
        ),
        (
            TWICE,
            '8: sources[1].topics[0]: "book:okx:*" comes already by sources[0]',
        ),
    ],
)
def test_a_mistake_of_a_source_is_named(problems: Problems, lines: str, said: str) -> None:
    (problem,) = problems(source(lines))
    assert problem.startswith(f"site.toml:{said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[[sources]]\ntype = "fed"\n',
            '2: sources[0].type: "fed" is not a source; allowed: feed, nats; did you mean "feed"?',
        ),
        ("[[sources]]\nurl = 1\n", "1: sources[0].type: is missing; allowed: feed, nats"),
        ("[sources]\n", "1: sources: must name at least one: write [[sources]]"),
    ],
)
def test_a_source_of_no_type_is_named(problems: Problems, text: str, said: str) -> None:
    assert f"site.toml:{said}" in problems(text + EXCHANGE + SINK)


def test_a_token_that_cannot_be_read_is_found_by_check(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(
        source(f'url = "tcp:127.0.0.1:1"\ntoken = "file:{tmp_path}/token"') + f'\n[journal]\npath = "{tmp_path}/j"'
    )
    found = CliRunner().invoke(group, ["check", str(path)])
    assert found.exit_code == 78
    assert "source feed tcp:127.0.0.1:1: the token: the file" in found.stderr
    (tmp_path / "token").write_text("sesame\n")
    found = CliRunner().invoke(group, ["check", str(path)])
    assert found.exit_code == 0
    assert "1 source, 0 exchanges" in found.stderr
