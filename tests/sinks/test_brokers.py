"""The settings of sinks that speak to brokers. Real servers are in tests/servers."""

import re
from pathlib import Path
from typing import Any

import pytest

from aggregator.config.config import load_config
from aggregator.errors import ConfigError
from aggregator.sinks.tls import tls_context


def configured(folder: Path, type: str, lines: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("aggregator.config.config.lacking", lambda *_: None)  # its client library need not be here
    path = folder / "site.toml"
    path.write_text(
        '[[exchanges]]\nid = "kraken"\nchannels = ["trades"]\nsymbols = ["BTC/USD"]\n'
        f'[[sinks]]\ntype = "{type}"\n{lines}\n'
    )
    return load_config(path, known_channels=lambda _: ("trades",)).sinks[0].settings


RABBIT = 'url = "amqp://127.0.0.1"\n'
MOSQUITTO = 'url = "mqtt://127.0.0.1"\n'
KAFKA = 'servers = ["127.0.0.1:9092"]\n'
ZEROMQ = 'url = "tcp://127.0.0.1:5556"\n'
LOGIN = "names who logs in"


@pytest.mark.parametrize(
    ("type", "lines", "words"),
    [
        ("amqp", 'url = "http://127.0.0.1"', "is no address; write"),
        ("amqp", 'url = "amqp://me:hunter2@127.0.0.1"', LOGIN),
        ("amqp", 'url = "amqp://me:hunter2@127.0.0.1:99999"', LOGIN),
        ("amqp", 'url = "amqp://me:hunter2@[::1"', LOGIN),
        ("amqp", 'url = "me:hunter2@127.0.0.1"', LOGIN),
        ("amqp", 'url = "amqp://127.0.0.1:99999"', "out of range"),
        ("amqp", 'url = "amqp://127.0.0.1?heartbeat=0"', "is no address"),
        ("amqp", RABBIT + 'ca = "ca.pem"', "ca, certificate and key are of TLS: write amqps://"),
        ("amqp", RABBIT + 'key = "key.pem"', "needs a certificate"),
        ("amqp", RABBIT + 'password = "hunter2"', "must say where the key is, not hold it"),
        ("amqp", RABBIT + 'prefix = "a..b"', "prefix"),
        ("amqp", RABBIT + 'exchange = ""', "exchange"),
        ("mqtt", 'url = "mqtt://127.0.0.1/market"', "is no address"),
        ("mqtt", 'url = "mqtt://me:hunter2@127.0.0.1"', LOGIN),
        ("mqtt", MOSQUITTO + 'prefix = "market/#"', "prefix"),
        ("mqtt", MOSQUITTO + 'prefix = "$SYS"', "prefix"),
        ("mqtt", MOSQUITTO + "qos = 3", "qos"),
        ("mqtt", MOSQUITTO + 'certificate = "own.pem"', "write mqtts://"),
        ("kafka", 'servers = ["127.0.0.1"]', 'is no server; write "HOST:PORT"'),
        ("kafka", 'servers = ["127.0.0.1:9092,b:9092"]', "is no server"),
        ("kafka", 'servers = ["127.0.0.1:0"]', "is no server"),
        ("kafka", 'servers = ["me:hunter2@127.0.0.1:9092"]', LOGIN),
        ("kafka", KAFKA + 'ca = "ca.pem"', "write `tls = true`"),
        ("kafka", KAFKA + 'partitioner = "murmur"', "partitioner"),
        ("zmq", 'url = "tcp://127.0.0.1"', "is no address; write"),
        ("zmq", 'url = "udp://127.0.0.1:1"', "is no address"),
        ("zmq", 'url = "ipc://a b"', "is no address"),
        ("zmq", ZEROMQ + 'curve_key = "hunter2"', "must say where the key is, not hold it"),
        ("redis", 'url = "redis://me:hunter2@127.0.0.1:99999"', LOGIN),
        ("nats", 'servers = ["nats://127.0.0.1", "nats://me:hunter2@127.0.0.1"]', LOGIN),
        ("nats", 'servers = ["nats://hunter2@127.0.0.1:99999"]', LOGIN),
        ("nats", 'servers = ["127.0.0.1:4222"]', 'is no address; write "nats://127.0.0.1:4222"'),
        ("nats", 'servers = ["nats://a:4222,b:4222"]', "nats://a:4222,b:4222"),
        ("nats", 'servers = ["nats://127.0.0.1"]\nname = "a b"', "name"),
    ],
)
def test_what_a_configuration_may_not_say(
    tmp_path: Path, type: str, lines: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)) as said:
        configured(tmp_path, type, lines, monkeypatch)
    assert "hunter2" not in str(said.value)


@pytest.mark.parametrize(
    ("type", "lines"),
    [
        ("amqp", 'url = "amqps://rabbit.example/my%2Fhost"\nca = "ca.pem"\nqueue_name = ""'),
        ("mqtt", 'url = "mqtts://[::1]:8883"\ncertificate = "own.pem"\nkey = "key.pem"\nqos = 2'),
        ("kafka", 'servers = ["a:9092", "[::1]:9093"]\ntls = true\nca = "ca.pem"'),
        ("zmq", 'url = "tcp://*:5556"\nslow = "wait"\nwhen_full = "conflate"'),
        ("zmq", 'url = "ipc:///run/aggregator/market"'),
    ],
)
def test_what_it_may_say(tmp_path: Path, type: str, lines: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured(tmp_path, type, lines, monkeypatch)


def test_files_of_tls_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "ca.pem"))):
        tls_context(tmp_path / "ca.pem", None, None)
