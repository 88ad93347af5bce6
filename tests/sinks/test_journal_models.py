"""Whatever happens to a journal, and whoever comes and goes: each record comes once and in order, or a gap tells of it.

`MODEL_CASES=50000` in the environment runs that many cases of each; `python -m tests.support.journal_model 50000`, and
`seam_model` and `spill_model` alike, do so, too, and count what they have seen.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import cases, journal_model, seam_model, spill_model

CASES = int(os.environ.get("MODEL_CASES", "0"))

pytestmark = pytest.mark.timeout(0 if CASES else 60)


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir=cases.memory()))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def as_many_as(usual: int) -> settings:
    return settings(
        max_examples=CASES or usual,
        derandomize=not CASES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def drawn(data: st.DataObject) -> cases.Chance:
    return lambda least, most: data.draw(st.integers(least, most))


@as_many_as(40)
@given(data=st.data())
def test_each_record_is_read_once_or_told_as_missing(memory: Path, data: st.DataObject) -> None:
    journal_model.run_case(drawn(data), memory / "journal")


@as_many_as(60)
@given(data=st.data())
def test_each_record_comes_once_or_is_told_as_missing(memory: Path, data: st.DataObject) -> None:
    seam_model.run_case(drawn(data), memory / "journal")


@as_many_as(40)
@given(data=st.data())
def test_a_sink_that_spills_gets_each_record_once_or_is_told(memory: Path, data: st.DataObject) -> None:
    spill_model.run_case(drawn(data), memory / "journal")
