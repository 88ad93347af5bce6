"""What holds for every test of this directory."""

from tests.support.passed import as_of_a_worker

__all__ = ["as_of_a_worker"]  # the fixture
