"""Which exchange is moved so that the busiest worker is less busy, and when none is."""

from pathlib import Path

import pytest

from aggregator.daemon.balance import MEASURED_S, UNKNOWN_LOAD, Balance, Burden, MeasuredLoad, proposed


def test_the_exchange_moves_that_makes_the_busiest_least_busy() -> None:
    found = proposed({1: 0.9, 2: 0.1}, {"a": 600, "b": 300, "c": 100, "d": 50}, {1: ("a", "b", "c"), 2: ("d",)})
    assert found is not None
    assert (found.exchange, found.worker) == ("b", 2)  # with `a` worker 2 would take more
    assert found.why == "worker 1 took 0.90 of a processor, worker 2 0.10"


def test_nothing_moves_where_that_would_not_help_enough() -> None:
    rates = {"a": 500.0, "b": 100.0}
    assert proposed({1: 0.45, 2: 0.0}, rates, {1: ("a", "b"), 2: ()}) is None, "nobody is busy"
    assert proposed({1: 0.9, 2: 0.1}, rates, {1: ("a",), 2: ("b",)}) is None, "one exchange is all of it"
    assert proposed({1: 0.9, 2: 0.8}, rates, {1: ("a", "b"), 2: ()}) is None, "both are"
    assert proposed({1: 0.9, 2: 0.1}, {}, {1: ("a", "b"), 2: ()}) is None, "nothing is known"
    assert proposed({1: 0.9}, rates, {1: ("a", "b")}) is None


def test_nothing_moves_to_a_worker_that_has_another_part_of_the_exchange() -> None:
    cpu, rates, names = {1: 0.9, 2: 0.1}, {"a-0of2": 600.0, "b": 300.0}, {1: ("a-0of2", "b"), 2: ("a-1of2",)}
    found = proposed(cpu, rates, names, lambda name, worker: (name, worker) != ("a-0of2", 2))
    assert found is not None
    assert found.exchange == "b"
    assert proposed(cpu, rates, names, lambda name, worker: False) is None  # noqa: ARG005


def look(balance: Balance, now: float, cpu: tuple[float, float], a: float, begun: int = 1) -> str | None:
    burdens = {1: Burden(begun, cpu[0], ("a", "b")), 2: Burden(1, cpu[1], ("c",))}
    found = balance.look(now, burdens, {"a": a, "b": a, "c": 1.0})
    return None if found is None else found.exchange


def test_it_is_measured_long_enough_and_anew_after_each_change() -> None:
    balance = Balance()
    assert look(balance, 0, (5.0, 1.0), 0) is None
    assert look(balance, MEASURED_S / 2, (65.0, 2.0), 5000) is None
    assert look(balance, MEASURED_S, (125.0, 3.0), 9000) == "a"
    assert look(balance, MEASURED_S + 1, (0.1, 3.0), 9100, begun=2) is None, "it is another process"
    assert look(balance, 2 * MEASURED_S, (60.0, 3.0), 9200, begun=2) is None
    assert look(balance, 2 * MEASURED_S + 2, (120.0, 3.0), 9900, begun=2) == "a"


def test_what_was_measured_is_known_to_the_next_start(tmp_path: Path) -> None:
    load = MeasuredLoad(tmp_path / "load.json")
    load.read()
    assert load.of("a") == UNKNOWN_LOAD
    load.keep({"a": 5000.0, "b": 0.0})
    after = MeasuredLoad(tmp_path / "load.json")
    after.read()
    assert after.of("a") == 5000.0
    assert after.of("b") == UNKNOWN_LOAD


@pytest.mark.parametrize("content", [b"{", b'{"a":"fast"}', b"\xff"])
def test_a_load_that_cannot_be_read_or_written_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "load.json"
    path.write_bytes(content)
    load = MeasuredLoad(path)
    load.read()
    assert load.of("a") == UNKNOWN_LOAD
    assert f"{path}: cannot be read, so exchanges are given to workers as if all were alike: " in caplog.text
    path.with_name("load.json.new").mkdir()
    load.keep({"a": 5000.0})
    assert (
        f"{path}: cannot be written, and the next start divides exchanges by what an earlier one has kept: "
        in caplog.text
    )
