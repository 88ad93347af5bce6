"""The metrics by name: the page, the dashboard and the alerts speak of those that there are, and of all of them."""

import json
import re
from pathlib import Path

import pytest

from aggregator.bus.bus import BusStatus
from aggregator.bus.history import HistoryStatus
from aggregator.daemon.metrics import MOST_CLIENTS_TOLD, Measure, measures
from aggregator.daemon.process import ProcessStatus
from aggregator.daemon.status import ChannelStatus, DaemonStatus, ExchangeStatus, WorkerStatus
from aggregator.daemon.tally import StreamTally
from aggregator.feed.status import FeedStatus, SubscriberStatus
from aggregator.ingest.status import BudgetStatus, RestStatus

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "docs" / "monitoring"
NAME = re.compile(r"\b(?:aggregator|component|buffer)_[a-z_]+\b")
HISTOGRAM = "aggregator_exchange_lag_seconds"
LABELS = {"component_id", "component_kind", "component_type"}


def status() -> DaemonStatus:
    """A daemon of which there is something to tell."""
    process = ProcessStatus(
        pid=1, version="1", started=1, uptime_s=1, loop="x", lag_ms=5, lag_max_ms=9, memory_bytes=1, open_files=1,
        threads=1, tasks=1,
    )  # fmt: skip
    topics = ChannelStatus(
        channel="trades", topics={"live": 2}, gaps={"sequence": 1}, rate=3, age_ms=50, oldest_ms=1500
    )
    budget = BudgetStatus(of="https://a.example", limit=10, seconds=1, left=4)
    crowd = [SubscriberStatus(f"tcp:[::1]:{number}", [], number, number, 0, 0) for number in range(99)]
    return DaemonStatus(
        ts=1,
        process=process,
        bus=BusStatus("e", 7, 1, 1),
        rest=RestStatus(refused=0, budgets=[budget, budget], connects=[], resting=[]),
        exchanges=[ExchangeStatus(id="a", state="running", channels=[topics])],
        workers=[WorkerStatus(number=1, pid=2, exchanges=["a"], begun=2, records=7, cpu_s=1.5, memory_bytes=1)],
        feeds=[FeedStatus(["tcp:[::1]:1"], crowd, 1, 99, 0, 0, 0)],
        journal=HistoryStatus(
            path="p", failing=None, epochs=1, segments=1, bytes=1, records=1, missed=0, held=0, ts_from=1, expired=0,
            readers=0,
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def found() -> dict[str, Measure]:
    return {each.name: each for each in measures(status(), StreamTally())}


def named(text: str) -> set[str]:
    """The metrics that a text names: those of a histogram by its own name."""
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in NAME.findall(text)} - LABELS


def test_the_page_names_every_metric_and_no_other(found: dict[str, Measure]) -> None:
    assert named((MONITORING / "README.md").read_text()) == found.keys() | {HISTOGRAM}


@pytest.mark.parametrize("file", ["alerts.yml", "dashboard.json"])
def test_what_is_watched_is_there(file: str, found: dict[str, Measure]) -> None:
    assert named((MONITORING / file).read_text()) <= found.keys() | {HISTOGRAM}


def test_the_dashboard_can_be_read() -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places) > 20
    assert all(panel["targets"] for panel in dashboard["panels"])


def test_names_and_words_are_as_prometheus_wants_them(found: dict[str, Measure]) -> None:
    for name, each in found.items():
        assert each.says.endswith("."), name
        assert not re.search(r"_(ms|ns|kb|count|sum|bucket|info_total)$", name), name
        assert all(len(labels) == len(each.labels) for labels, _ in each.samples), name
        assert len({labels for labels, _ in each.samples}) == len(each.samples), name  # no series comes twice


def test_times_are_told_in_seconds(found: dict[str, Measure]) -> None:
    assert found["aggregator_loop_lag_seconds"].samples == [((), 0.005)]
    ages = {labels[-1]: value for labels, value in found["aggregator_topic_age_seconds"].samples}
    assert ages == {"newest": 0.05, "oldest": 1.5}


def test_of_a_crowd_of_clients_the_slowest_are_told(found: dict[str, Measure]) -> None:
    queues = [value for _, value in found["aggregator_client_queue_records"].samples]
    assert (len(queues), min(queues)) == (MOST_CLIENTS_TOLD, 99 - MOST_CLIENTS_TOLD)
    assert [value for _, value in found["buffer_events"].samples] == [sum(range(99))]
