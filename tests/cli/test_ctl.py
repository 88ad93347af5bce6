"""`aggregator ctl`, as an operator uses it: against a daemon that runs, and against none."""

import json
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aggregator.cli import ctl, group
from aggregator.cli.ctl import ELSEWHERE, NoAnswer, command
from tests.daemon.test_daemon import PATIENCE, PROGRAM, ROOT, configure, exchanges, of, running, until

pytestmark = pytest.mark.waits

__all__ = ["exchanges"]  # the fixture


def run(*arguments: str, **environment: str) -> Result:
    """Ask in the process of this test; what is asked is a daemon in another one."""
    return CliRunner().invoke(group, ["ctl", *arguments], env=environment, catch_exceptions=False)


def asked(*arguments: str) -> Result:
    """Ask by a command of its own."""
    return CliRunner().invoke(group, list(arguments), catch_exceptions=False)


def short(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Put the control socket where its path is not too long."""
    path = tmp_path_factory.mktemp("s") / "c.sock"
    config.write_text(f'control = "{path}"\n' + config.read_text())
    return path


def test_an_operator_asks_a_daemon(tmp_path: Path, exchanges: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    parts = of(exchanges, "kraken").replace('symbols = ["*"]', 'symbols = ["*", "NO/SUCH"]')
    config = configure(tmp_path, parts)
    path = short(config, tmp_path_factory)
    with running(config) as daemon:
        until(lambda: daemon.has([("kraken", "trade"), ("kraken", "book_delta")]), what="data")
        shown = run("status", "--config", str(config))
        assert shown.exit_code == 0, shown.stderr
        head, _, columns, row, *rest = shown.stdout.splitlines()
        assert f"process {daemon.process.pid}" in head
        assert columns.split("\t") == [
            "exchange", "live", "quiet", "other", "gaps", "connections", "records/s", "last", "trouble",
        ]  # fmt: skip
        assert (row.split("\t")[0], row.split("\t")[5]) == ("kraken", "2/2")
        assert rest[0] == "kraken: nothing is followed for NO/SUCH"
        assert rest[2] == "sink\twaiting\tlost\t"
        assert rest[3].split("\t")[::2] == ["stdout", "0"]
        named = "trades:kraken:BTC/USD\tlive\t"  # a topic becomes live when the connection next looks at it
        until(lambda: named in run("status", "--socket", str(path), "trades:kraken:*").stdout, what="a live topic")
        assert "\nno topic fits" in run("status", "--socket", str(path), "trades:okx:*").stdout
        everything = json.loads(run("status", "--socket", str(path), "--json", "*:*:*").stdout)
        assert everything["schema"] == 1
        assert {topic["state"] for topic in everything["topics"]} <= {"live", "quiet", "syncing", "subscribing"}
        assert sum(everything["exchanges"][0]["topics"].values()) == len(everything["topics"])
        assert "stacks: task" in run("stacks", "--socket", str(path)).stdout
        explained = asked("explain", "trades:kraken:BTC/USD", "--socket", str(path)).stdout.splitlines()
        assert explained[0] == "trades:kraken:BTC/USD is live"
        assert any(line.startswith("  - subscribed ") and line.endswith(": acknowledged") for line in explained)
        assert explained[-1] == "  what to do: nothing: data flow"
        assert "pattern" not in asked("explain", "--json", "trades:kraken:*", "--socket", str(path)).stdout
        tapped = asked("tap", "trades:kraken:BTC/USD", "-n", "2", "--socket", str(path))
        assert tapped.stderr == "2 frames\n"
        shown_frames = [line for line in tapped.stdout.splitlines() if " < {" in line]
        assert [len(shown_frames), tapped.stdout.count('    > {"type":"trade"')] == [2, 2]
        (tap, *_) = asked("tap", "--json", "book:kraken:*", "-n", "1", "--socket", str(path)).stdout.splitlines()
        assert {"book_delta", "book_snapshot"} >= {record["type"] for record in json.loads(tap)["records"]}
        assert "no exchange 'gate' runs" in asked("tap", "trades:gate:*", "--socket", str(path)).stderr
        assert "did you mean trades?" in asked("explain", "trade:*:*", "--socket", str(path)).stderr
        topped = json.loads(asked("top", "--once", "--json", "--socket", str(path)).stdout)
        assert [(row["exchange"], row["state"]) for row in topped["exchanges"]] == [("kraken", "running")]
        assert run("rotate", "--socket", str(path)).stderr == "0 sinks of files, 0 captures\n"
        wrong = run("status", "--socket", str(path), "trade:*:*")
        assert (wrong.exit_code, "did you mean trades?" in wrong.stderr) == (1, True)
        daemon.signal(signal.SIGKILL)
    assert path.exists()
    gone = run("status", "--socket", str(path))
    assert gone.exit_code == 1
    assert gone.stderr == f"aggregator: {path}: Connection refused; is a daemon running? {ELSEWHERE}\n"
    with running(config) as daemon:
        until(lambda: run("status", "--socket", str(path)).exit_code == 0, what="an answer of the next daemon")
        assert daemon.signal(signal.SIGTERM) == 0
    assert not path.exists()


def test_an_operator_changes_what_a_daemon_does(
    tmp_path: Path, exchanges: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = configure(tmp_path, of(exchanges, "kraken"))
    path = short(config, tmp_path_factory)
    with running(config) as daemon:
        until(lambda: daemon.has([("kraken", "trade")]), what="data")
        until(lambda: run("reload", "--wait", "--socket", str(path)).exit_code == 0, what="an answer")
        right = config.read_text()
        config.write_text(right.replace("channels = [", 'channels = ["nix", ').replace("symbols", "symbls"))
        wrong = run("reload", "--wait", "--socket", str(path))
        assert wrong.exit_code == 1
        assert len(wrong.stderr.splitlines()) > 1
        assert all(line.startswith(f"aggregator: {config}:") for line in wrong.stderr.splitlines())
        config.write_text(right + of(exchanges, "okx"))
        assert run("reload", "--wait", "--socket", str(path)).stderr == "okx: new\n"
        until(lambda: daemon.has([("okx", "trade")]), what="data of the other")
        assert "kraken is paused: " in run("pause", "kraken", "--socket", str(path)).stderr
        status = run("status", "--socket", str(path)).stdout
        assert re.search(r"^kraken\t0\t0\t0\t[1-9][0-9]*\tpaused", status, re.MULTILINE), status
        assert run("pause", "kraken", "--socket", str(path)).exit_code == 1
        assert run("resume", "kraken", "--socket", str(path)).exit_code == 0
        assert run("unsubscribe", "*:okx:*", "--socket", str(path)).stderr == "0 topics of this exchange are followed\n"
        assert run("subscribe", "trades:okx:BTC/USDT", "--socket", str(path)).stderr.startswith("1 topic")
        assert run("subscribe", "nonsense", "--socket", str(path)).exit_code == 1
        assert daemon.signal(signal.SIGTERM) == 0


def test_a_place_that_is_taken_is_a_reason_not_to_start_if_it_was_configured(
    tmp_path: Path, exchanges: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = configure(tmp_path, of(exchanges, "kraken"))
    path = short(config, tmp_path_factory)
    path.write_text("mine")
    done = subprocess.run(
        [*PROGRAM, "run", str(config)], capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE, check=False
    )
    assert done.returncode == 78
    assert f"control: {path} is there and is no socket" in done.stderr


def test_a_daemon_that_is_not_to_be_asked_is_not(tmp_path: Path, exchanges: str) -> None:
    config = configure(tmp_path, of(exchanges, "kraken"))
    config.write_text('control = "none"\n' + config.read_text())
    with running(config) as daemon:
        until(lambda: daemon.has([("kraken", "trade")]), what="data")
        assert not list(tmp_path.rglob("control.sock"))
        assert 'control is "none"' in run("status", "-c", str(config)).stderr
        assert daemon.signal(signal.SIGTERM) == 0


# --- what answers is no daemon, or another one ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0\n", "no daemon"),
        (b'{"ok":true,"sta', "in the middle of its answer"),
        (b'{"ok":true,"status":{"schema":2}}\n', "a daemon of another version answers"),
        (b'{"ok":false,"error":"not \\u001b[31mtoday"}\n', "aggregator: not \\x1b[31mtoday\n"),
    ],
)
def test_what_answers_badly_is_said(answer: bytes, said: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "c.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1 << 16)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        result = CliRunner().invoke(command, ["status", "--socket", str(path)])
        thread.join()
    assert (result.exit_code, said in result.output) == (1, True), result.output


def test_a_daemon_that_hangs_up_before_it_was_asked_has_said_why(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "c.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def refuse() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(b'{"ok":false,"error":"there are 8 clients already"}\n')

        thread = threading.Thread(target=refuse)
        thread.start()
        too_long_to_be_sent_at_once: dict[str, object] = {"op": "status", "topics": ["x" * 4_000_000]}
        with pytest.raises(NoAnswer, match=r"^there are 8 clients already$"):
            list(ctl.ask_on(path, too_long_to_be_sent_at_once, PATIENCE))
        thread.join()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3725, "1 h 2 min"), (90_000, "1 d 1 h"), (-5, "0 s")],
)
def test_a_length_of_time_is_told_in_its_two_largest_units(seconds: float, said: str) -> None:
    assert ctl._span(seconds) == said
