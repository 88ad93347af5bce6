"""Whatever becomes of markets, each that is wanted and can be had is followed once, or a reason is told.

`LIVES=50000` in the environment plays that many lives, and not the same ones each time.
"""

import os
import time

import pytest

from tests.support.lives import play

LIVES = int(os.environ.get("LIVES", "0"))
FIRST = time.time_ns() if LIVES else 0
BLOCKS = 20


@pytest.mark.timeout(0 if LIVES else 60)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_a_market_that_is_wanted_is_followed_once_or_a_reason_is_told(block: int) -> None:
    count = max(LIVES, 100) // BLOCKS
    for seed in range(FIRST + block * count, FIRST + (block + 1) * count):
        assert play(seed) == [], f"seed {seed}"
