"""`aggregator doctor`: what it finds on a machine that is well, and on one that is not."""

import os
import resource
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from aggregator.cli import doctor, group
from tests.daemon.test_daemon import NOBODY, configure, exchanges, of

pytestmark = pytest.mark.waits

__all__ = ["exchanges"]  # the fixture


def ask(config: Path, *options: str) -> Result:
    return CliRunner().invoke(group, ["doctor", str(config), *options], catch_exceptions=False)


def rows(result: Result) -> list[list[str]]:
    return [line.split("\t") for line in result.stdout.splitlines()[1:]]


def elsewhere(directory: Path, rest: str, stream: str) -> Path:
    """A configuration of an exchange that is somewhere else."""
    parts = '[[exchanges]]\nid = "bitstamp"\nchannels = ["trades"]\nsymbols = ["BTC/USD"]\n[exchanges.endpoints]\n'
    return configure(directory, f'{parts}"https://www.bitstamp.net" = "{rest}"\n"wss://ws.bitstamp.net" = "{stream}"\n')


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server that says one thing to everybody; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(1 << 16)
                    client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_machine_that_reaches_its_exchanges_is_well(tmp_path: Path, exchanges: str) -> None:
    said = ask(configure(tmp_path, of(exchanges, "kraken", "okx")))
    assert said.exit_code == 0, said.output
    found = rows(said)
    assert {row[0] for row in found} >= {"machine", "kraken", "okx"}
    assert {row[2] for row in found} == {"fine"}
    assert [row[3] for row in found if row[1].startswith("clock")]


def test_who_does_not_answer_is_named_with_what_to_do(tmp_path: Path) -> None:
    said = ask(elsewhere(tmp_path, f"http://{NOBODY}", "wss://no.such.name.invalid"))
    assert said.exit_code == 1
    bad = {row[1]: row for row in rows(said) if row[2] == "bad"}
    assert set(bad) == {f"reach {NOBODY}", "name no.such.name.invalid"}
    assert "firewall" in bad[f"reach {NOBODY}"][4]
    assert "resolv.conf" in bad["name no.such.name.invalid"][4]
    assert said.stderr == f"2 of {len(rows(said))} are bad\n"
    assert ask(elsewhere(tmp_path, f"http://{NOBODY}", f"ws://{NOBODY}"), "--offline").exit_code == 0


def test_a_certificate_that_nobody_vouches_for_is_bad(tmp_path: Path) -> None:
    with answering(b"this is no TLS\r\n") as port:
        said = ask(elsewhere(tmp_path, f"https://127.0.0.1:{port}", f"wss://127.0.0.1:{port}"))
    bad = [row for row in rows(said) if row[2] == "bad"]
    assert bad[0][1] == f"TLS 127.0.0.1:{port}"
    assert "ca-certificates" in bad[0][4]


@pytest.mark.parametrize(
    ("head", "verdict"),
    [
        (b"HTTP/1.1 200 OK\r\nDate: Tue, 01 Jan 2002 00:00:00 GMT\r\n\r\n", "bad"),
        (b"HTTP/1.1 200 OK\r\nDate: yesterday\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\n\r\n", None),
        (b"SSH-2.0\n", "doubtful"),
    ],
)
def test_a_clock_is_compared_with_what_a_server_tells(tmp_path: Path, head: bytes, verdict: str | None) -> None:
    with answering(head) as port:
        said = ask(elsewhere(tmp_path, f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"))
    found = [row for row in rows(said) if row[1].startswith(("clock", "HTTP"))]
    assert [row[2] for row in found] == ([] if verdict is None else [verdict] * len(found))
    assert bool(found) == (verdict is not None)
    if verdict == "bad":
        assert "timedatectl" in found[0][4]


def test_limits_and_disks_are_looked_at(tmp_path: Path, exchanges: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(tmp_path, of(exchanges, "kraken"))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    said = ask(config, "--offline")
    bad = {row[1]: row for row in rows(said)}
    assert (said.exit_code, bad["open files"][2], bad["disk"][2]) == (1, "bad", "bad")
    assert "LimitNOFILE=" in bad["open files"][4]
    assert bad["disk"][3] == "0.0 GiB are free"
    monkeypatch.setattr(os, "access", lambda *_: False)
    (found,) = doctor._disk(tmp_path / "not there")
    assert (found.verdict, found.said) == ("bad", f"user {os.geteuid()} may not write to {tmp_path}")
