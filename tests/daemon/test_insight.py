"""How the daemon answers ports: whether its data are fresh, its status, and its metrics, as Prometheus reads them."""

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from aggregator.bus.insight import Readiness, StaleTopic
from aggregator.cli import group
from tests.daemon.test_daemon import NOBODY, PATIENCE, Running, configure, exchanges, of, running, until

pytest.importorskip("prometheus_client")
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.waits

__all__ = ["exchanges"]  # the fixture


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Port:
    """The port of a daemon that is asked by HTTP."""

    def __init__(self, daemon: Running, number: int) -> None:
        self.daemon = daemon
        self.address = f"http://127.0.0.1:{number}"

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        request = urllib.request.Request(self.address + path, headers=headers)  # noqa: S310 - it is ours
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - likewise
                return int(answer.status), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def json(self, path: str) -> tuple[int, Any]:
        status, body = self.get(path)
        return status, json.loads(body)

    def is_ready(self, topics: str = "") -> bool:
        try:
            return self.get(f"/readyz{topics}")[0] == 200
        except urllib.error.URLError:
            return False

    def metrics(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Every sample by its name, read by the client's own parser."""
        status, body = self.get("/metrics")
        assert status == 200
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(body.decode()):
            assert family.documentation, family.name
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found


@contextmanager
def watched(directory: Path, exchanges: str, feed: str = "") -> Iterator[Port]:
    number = free_port()
    files = f'[[sinks]]\ntype = "files"\npath = "{directory}/data"\n'
    config = configure(directory, exchanges, sinks=f'{files}[feed]\nlisten = ["http:127.0.0.1:{number}"]\n{feed}')
    with running(config) as daemon:
        yield Port(daemon, number)


def test_data_are_fresh_when_they_flow_and_an_exchange_that_brings_none_is_named(
    tmp_path: Path, exchanges: str
) -> None:
    nowhere = '[[exchanges]]\nid = "bitstamp"\nchannels = ["trades"]\nsymbols = ["BTC/USD"]\n[exchanges.endpoints]\n'
    nowhere += f'"https://www.bitstamp.net" = "http://{NOBODY}"\n"wss://ws.bitstamp.net" = "ws://{NOBODY}"\n'
    with watched(tmp_path, of(exchanges, "kraken") + nowhere) as port:
        until(lambda: port.is_ready("?topic=trades:kraken:*"), what="fresh trades")
        assert port.get("/livez") == port.get("/live") == (200, b'{"status":"ok"}\n')
        status, said = port.json("/readyz")
        assert (status, said["is_ready"], said["status"]) == (503, False, "not ready")
        assert [reason.partition(":")[0] for reason in said["reasons"]] == ["bitstamp"]
        assert port.json("/ready")[0] == 503
        named = port.json("/readyz?topic=trades:kraken:*")[1]
        assert 0 < named["fresh"] < said["fresh"], "of those that were named"
        assert named["stale"] == 0
        nothing = port.json("/readyz?topic=trades:bitstamp:*")[1]
        assert (nothing["reasons"], nothing["fresh"]) == (["no topic fits"], 0)
        assert port.get("/readyz?topic=trade:*:*")[0] == 400
        assert port.get("/readyz?t=1")[0] == 400
        status, whole = port.json("/status?topic=book:kraken:*&troubled=false")
        assert (status, {topic["channel"] for topic in whole["topics"]}) == (200, {"book"})
        assert {exchange["id"]: exchange["state"] for exchange in whole["exchanges"]}["kraken"] == "running"
        assert port.get("/status?topic=books:kraken:*")[0] == 400


def test_topics_that_come_by_a_source_are_fresh_or_not_and_explained(tmp_path: Path, exchanges: str) -> None:
    for name in ("there", "here"):
        (tmp_path / name).mkdir()
    with watched(tmp_path / "there", of(exchanges, "kraken")) as there:
        source = f'[[sources]]\ntype = "feed"\nurl = "{there.address.replace("http", "ws")}/feed"\n'
        with watched(tmp_path / "here", source) as port:
            until(lambda: port.is_ready("?topic=trades:kraken:*"), what="fresh trades of the other daemon")
            assert port.json("/readyz")[1]["fresh"] > 1
            assert port.json("/readyz?topic=trades:okx:*")[1]["reasons"] == ["no topic fits"]
            topics = port.json("/status?topic=trades:kraken:*&troubled=false")[1]["topics"]
            assert {topic["state"] for topic in topics} == {"live"}
            topic = f"trades:kraken:{topics[0]['symbol']}"
            assert "it comes by the source feed ws://" in explained(tmp_path / "here", topic)
            there.daemon.signal(signal.SIGKILL)
            until(lambda: not port.is_ready(f"?topic={topic}"), what="a gap of it")
            (stale,) = port.json(f"/readyz?topic={topic}")[1]["topics"]
            assert (stale["topic"], stale["state"]) == (topic, "suspect")
            assert "see to the link" in explained(tmp_path / "here", topic)
            assert "has not brought it" in explained(tmp_path / "here", "trades:okx:BTC/USDT")


def explained(directory: Path, topic: str) -> str:
    socket = str(directory / "state/control.sock")
    return CliRunner().invoke(group, ["explain", "--socket", socket, topic], catch_exceptions=False).output


def test_who_shows_no_token_learns_only_whether_data_are_fresh(tmp_path: Path, exchanges: str) -> None:
    from aggregator.feed.access import hash_of, new_token

    whole, part = new_token(), new_token()
    tokens = f'[[feed.tokens]]\nname = "all"\nhash = "{hash_of(whole)}"\n'
    tokens += f'[[feed.tokens]]\nname = "some"\nhash = "{hash_of(part)}"\ntopics = ["trades:kraken:*"]\n'
    with watched(tmp_path, of(exchanges, "kraken"), tokens) as port:
        until(port.is_ready, what="fresh data")
        assert port.get("/readyz") == (200, b'{"status":"ok"}\n')
        assert port.get("/readyz?topic=*:*:*")[0] == port.get("/metrics")[0] == port.get("/status")[0] == 401
        mine = {"Authorization": f"Bearer {part}"}
        until(lambda: port.get("/readyz?topic=trades:kraken:*", **mine)[0] == 200, what="trades of a token")
        assert port.get("/readyz?topic=trades:kraken:*", **mine)[1] == b'{"status":"ok"}\n'
        assert port.get("/readyz?topic=book:kraken:*", **mine)[0] == 400
        assert port.get("/metrics", **mine)[0] == port.get("/status", **mine)[0] == 403
        assert "is_ready" in json.loads(port.get("/readyz", Authorization=f"Bearer {whole}")[1])
        assert port.get("/metrics", Authorization=f"Bearer {whole}")[0] == 200


def test_metrics_say_what_the_daemon_does(tmp_path: Path, exchanges: str) -> None:
    with watched(tmp_path, of(exchanges, "kraken", "okx")) as port:
        until(port.is_ready, what="fresh data")
        until(lambda: "aggregator_exchange_lag_seconds_count" in port.metrics(), what="a lag")
        before, now = port.metrics(), port.metrics()
        ids = {labels["component_id"] for labels, _ in now["component_sent_events_total"]}
        assert {"kraken", "okx"} < ids
        for name, samples in before.items():
            later = {tuple(labels.items()): value for labels, value in now[name]}
            if name.endswith("_total"):
                assert all(later[tuple(labels.items())] >= value for labels, value in samples), name
            assert not any({"symbol", "raw_symbol", "topic"} & labels.keys() for labels, _ in samples), name
        assert {labels["exchange"]: value for labels, value in now["aggregator_connections"]}["kraken"] == 2
        states = {labels["state"] for labels, _ in now["aggregator_topics"]}
        assert "live" in states
        (sink,) = [value for labels, value in now["buffer_events"] if labels["component_type"] == "files"]
        assert sink >= 0
        promtool = shutil.which("promtool")
        if promtool is not None:
            checked = subprocess.run(
                [promtool, "check", "metrics"], input=port.get("/metrics")[1], capture_output=True, check=False
            )
            assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_how_complete_its_recording_is_stands_at_a_port(tmp_path: Path, exchanges: str) -> None:
    with watched(tmp_path, of(exchanges, "kraken")) as port:
        until(lambda: port.is_ready("?topic=trades:kraken:*"), what="fresh trades")
        (recording,) = port.json("/coverage")[1]["recordings"]
        assert (recording["type"], recording["path"]) == ("files", str(tmp_path / "data"))
        today = datetime.now(UTC)
        days = f"first={today - timedelta(days=1):%Y-%m-%d}&last={today + timedelta(days=1):%Y-%m-%d}"
        asked = f"/coverage?recording={quote(recording['name'])}&{days}"
        found: list[Any] = []

        def has_trades() -> bool:
            status, told = port.json(f"{asked}&exchange=kraken")
            found[:] = [day for day in told.get("days", ()) if day["channel"] == "trades" and day["records"]]
            return status == 200 and bool(found)

        until(has_trades, what="trades of the recording")
        assert all(day["exchange"] == "kraken" and day["percent"] is not None for day in found)
        for wrong in ("/coverage?recording=x&first=a", f"/coverage?recording=x&{days}", f"{asked}&svg=x"):
            assert port.get(wrong)[0] == 400, wrong


def test_a_daemon_that_drains_is_not_ready(tmp_path: Path, exchanges: str) -> None:
    slow = Readiness(is_ready=False, topics=[StaleTopic(topic="trades:a:B", state="stalled")])
    assert slow.topics[0].reason is None
    with watched(tmp_path, of(exchanges, "kraken")) as port, socket.socket() as held:
        until(port.is_ready, what="fresh data")
        held.connect(("127.0.0.1", int(port.address.rpartition(":")[2])))
        held.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in held.recv(1000)
        port.daemon.process.send_signal(signal.SIGTERM)
        said = b""
        end = time.monotonic() + PATIENCE
        while b" 503 " not in said and time.monotonic() < end:
            try:
                held.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                said = held.recv(1000)
            except OSError:
                break
            if not said:
                break
        assert b" 503 " in said or port.daemon.process.wait(PATIENCE) == 0


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="there is no Prometheus: .ci/debian-servers installs it")
def test_a_real_prometheus_scrapes_it(tmp_path: Path, exchanges: str) -> None:
    with watched(tmp_path, of(exchanges, "kraken")) as port:
        until(port.is_ready, what="fresh data")
        config = tmp_path / "prometheus.yml"
        target = port.address.removeprefix("http://")
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: aggregator, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        number = free_port()
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/tsdb"]
        with (tmp_path / "said").open("wb") as said:
            prometheus = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{number}"], stdout=said, stderr=said
            )
        try:
            asking = Port(port.daemon, number)

            def value(query: str) -> list[Any]:
                try:
                    return list(asking.json(f"/api/v1/query?query={query}")[1]["data"]["result"])
                except (OSError, ValueError):  # it is not there yet, or not ready
                    return []

            until(lambda: value("aggregator_records_total"), what="a scrape")
            (up,) = value("up")
            assert up["value"][1] == "1"
            assert {row["metric"]["exchange"] for row in value("aggregator_topics")} == {"kraken"}
        finally:
            prometheus.terminate()
            prometheus.wait(PATIENCE)
