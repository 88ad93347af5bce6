"""What holds for every test."""

import logging
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# A machine that is busy makes an example slow, which says nothing of the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# What is compiled is kept, whatever the environment says: else every program that a test starts compiles all of it.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--servers", action="store_true", help="run tests/servers too, which start real servers")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Twice as many as there are cores: most of the time goes to tests that wait, and keep no core busy meanwhile."""
    cores = len(os.sched_getaffinity(0))
    return cores if config.getoption("markexpr") == "not waits" else 2 * cores


@pytest.fixture
def log_as_before() -> Iterator[None]:
    """The log of the test run again, where a test has set up the daemon's."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
