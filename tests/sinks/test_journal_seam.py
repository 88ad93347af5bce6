"""Whoever comes and goes gets each record once and in order, or a gap tells of it.

`MODEL_CASES=50000` in the environment runs that many cases; `python -m tests.support.seam_model 50000` does so, too,
and counts what it has seen.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.seam_model import run_case

CASES = int(os.environ.get("MODEL_CASES", "0"))


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A directory on a disk that is memory, where there is one."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(dir=place))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.timeout(0 if CASES else 60)
@settings(
    max_examples=CASES or 60,
    derandomize=not CASES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_each_record_comes_once_or_is_told_as_missing(memory: Path, data: st.DataObject) -> None:
    def chance(least: int, most: int, /) -> int:
        return data.draw(st.integers(least, most))

    run_case(chance, memory / "journal")
