"""What a cluster shares stands in the place of the same in a host's file, and nothing secret is ever shared."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.catalog.registry import known_channels
from aggregator.cluster.shared import SharedConfig, read_shared, written
from aggregator.config.config import Config, ConfigErrors, load_config, read_shared_file, shared_file

MEMBER = """\
state = "/tmp/state"
[cluster]
nats = "nats://127.0.0.1:4222"
name = "amber"
needs = {kraken = ["us"]}
buckets = {okx = 3}

[[exchanges]]
id = "kraken"
channels = ["ticker"]
symbols = ["*"]
proxy = "socks5h://user:word@127.0.0.1:1080"

[[exchanges]]
id = "okx"
channels = ["ticker"]
symbols = ["*"]
"""
SHARED = """\
# the old word was "swordfish"
[cluster]
buckets = 2
[cluster.needs]
okx = "eu"                     # one, without a list
[[exchanges]]
id = "okx"
channels = ["trades", "book"]
symbols = ["*/USDT"]
lifetime = "12h"
[[exchanges]]
id = "kraken"
channels = ["trades"]
symbols = ["BTC/USD"]
[exchanges.endpoints]
"wss://ws.kraken.com" = "ws://127.0.0.1:8700/ws.kraken.com"
"""

Judge = Callable[[str], Config]


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """A member's configuration with what is shared."""
    monkeypatch.setattr("aggregator.config.config.lacking", lambda *_: None)
    host, file = tmp_path / "member.toml", tmp_path / "shared.toml"
    host.write_text(MEMBER)

    def judged(text: str) -> Config:
        file.write_text(text)
        return load_config(host, known_channels=known_channels, shared=read_shared_file(file))

    return judged


def test_what_is_shared_stands_in_the_place_of_the_hosts_own(judge: Judge) -> None:
    found = judge(SHARED)
    okx, kraken = found.exchanges
    assert (okx.id, okx.channels, okx.symbols, okx.lifetime) == ("okx", ("trades", "book"), ("*/USDT",), 43200)
    assert (kraken.channels, kraken.symbols) == (("trades",), ("BTC/USD",))
    assert found.cluster is not None
    assert (found.cluster.name, found.cluster.needs) == ("amber", {"okx": ("eu",)})
    assert found.cluster.shards_of("okx") == ["okx-0of2", "okx-1of2"]
    assert str(found.state) == "/tmp/state"


def test_an_exchange_keeps_the_proxy_and_the_keys_of_the_host(judge: Judge) -> None:
    found = {each.id: each.route.proxy for each in judge(SHARED).exchanges}
    assert "1080" in str(found["kraken"])
    assert found["okx"] == "environment"


def test_a_host_needs_no_exchange_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.config.config.lacking", lambda *_: None)
    host = tmp_path / "member.toml"
    host.write_text('[cluster]\nnats = "nats://127.0.0.1:4222"\nname = "amber"\n')
    assert load_config(host, known_channels=known_channels).exchanges == ()
    shared = shared_file(SharedConfig(revision=7, text=SHARED))
    assert len(load_config(host, known_channels=known_channels, shared=shared).exchanges) == 2
    with pytest.raises(ConfigErrors, match=r"revision 8 of the cluster:1: id: is each host's own"):
        load_config(host, known_channels=known_channels, shared=shared_file(SharedConfig(revision=8, text='id = "a"')))


def test_all_that_is_wrong_is_told_at_its_line(judge: Judge) -> None:
    with pytest.raises(ConfigErrors) as caught:
        judge(
            'log_level = "info"\n[cluster]\nname = "b"\nneeds = {bitstamp = "eu"}\n'
            '[[exchanges]]\nid = "krakn"\nchannels = ["trades"]\nsymbols = ["*"]\ncredentials = {key = "swordfish"}\n'
            '[[exchanges]]\nid = "okx"\nchannels = ["trade"]\nsymbols = ["*"]\nproxy = "http://a:swordfish@b"\n'
            '[exchanges.endpoints]\n"wss://ws.okx.com" = "wss://b/?key=swordfish"\n[feed]\nlisten = ["unix:x"]\n'
        )
    said = str(caught.value)
    for line, words in (
        (1, "log_level: is each host's own"),
        (3, "cluster.name: is each host's own"),
        (6, 'exchanges[0].id: "krakn" is not an exchange'),
        (9, "exchanges[0].credentials: is each host's own"),
        (12, 'exchanges[1].channels[0]: "trade" is not a channel'),
        (14, "exchanges[1].proxy: is each host's own"),
        (16, 'exchanges[1].endpoints."wss://ws.okx.com": must not be shared with a query'),
        (17, "feed: is each host's own"),
    ):
        assert f"shared.toml:{line}: {words}" in said
    assert "shared.toml:4: cluster.needs.bitstamp: is not among the exchanges here" in said
    assert "swordfish" not in said


@pytest.mark.parametrize("text", ["", "[cluster.needs]\n", "exchanges = []\n", "exchanges = 3\n", "exchanges = [3]\n"])
def test_nothing_is_no_configuration(text: str, judge: Judge) -> None:
    with pytest.raises(ConfigErrors, match=r"shared.toml:[12]: exchanges"):
        judge(text)


def test_a_file_of_a_later_version_is_not_judged_further(judge: Judge) -> None:
    with pytest.raises(ConfigErrors, match="is of a later aggregator"):
        judge("version = 99\n")


def test_what_is_put_means_the_same_and_has_no_comments(judge: Judge, tmp_path: Path) -> None:
    before = judge(SHARED)
    text = written(read_shared_file(tmp_path / "shared.toml").values)
    assert "swordfish" not in text
    assert "#" not in text
    assert judge(text) == before
    assert written(tomllib.loads(text)) == text


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    TEXTS | st.integers(-(2**60), 2**60) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)


@given(
    st.fixed_dictionaries(
        {"exchanges": st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), min_size=1, max_size=3)},
        optional={
            "version": st.integers(1, 9),
            "cluster": st.fixed_dictionaries({"needs": st.dictionaries(TEXTS, VALUES, max_size=3)}),
        },
    )
)
def test_every_value_is_written_as_it_was_read(values: dict[str, object]) -> None:
    assert tomllib.loads(written(values)) == values


@pytest.mark.parametrize("value", [b"", b"[]", b'{"text": 3}', b"\xff", None])
def test_a_revision_that_is_none_is_told(value: bytes | None) -> None:
    if value is not None:
        with pytest.raises(ValueError, match="revision 7 of the shared configuration cannot be read"):
            read_shared(value, 7)
    else:
        assert read_shared(value, 7) == SharedConfig(revision=7)
