"""Hostile bytes on every transport, for some seconds; `python -m bench.fuzz_feed 600` does it for ten minutes."""

from pathlib import Path

import pytest

from bench.fuzz_feed import fuzz

pytestmark = pytest.mark.waits


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "tls"])
async def test_no_hostile_client_disturbs_another_or_leaves_anything(is_secure: bool, tmp_path: Path) -> None:
    outcome = await fuzz(5, 17, tmp_path, is_secure=is_secure)
    assert outcome.clients > 50
    assert outcome.is_good, outcome
