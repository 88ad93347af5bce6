"""Whoever asks for whatever: each topic that is asked for and can be had is subscribed once, or a reason is told.

`ASKERS=20000` in the environment plays that many lives, and not the same ones each time.
"""

import os
import time

import pytest

from tests.support.askers import JOINS, AskedWorld
from tests.support.lives import play

LIVES = int(os.environ.get("ASKERS", "0"))
FIRST = time.time_ns() if LIVES else 0
BLOCKS = 10


@pytest.mark.timeout(0 if LIVES else 60)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_a_topic_that_is_asked_for_is_subscribed_once_and_released_when_nobody_does(block: int) -> None:
    count = max(LIVES, 100) // BLOCKS
    for seed in range(FIRST + block * count, FIRST + (block + 1) * count):
        assert play(seed, AskedWorld, JOINS * 2) == [], f"seed {seed}"
