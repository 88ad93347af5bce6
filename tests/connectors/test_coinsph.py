"""Coins.ph: where its books begin, and the frame that keeps a connection."""

import json

from aggregator.sequence import Verdict
from connectors.coinsph import EXCHANGE


def test_the_first_change_may_begin_late_and_no_other() -> None:
    """As probed in September 2026: the first change began up to 867 numbers late, and the books were right."""
    rule = EXCHANGE.streams[0].sequence["book"]
    assert rule.joins(100, 968, 970, None) is Verdict.NEXT
    assert rule.joins(100, 90, 100, None) is Verdict.STALE
    assert rule.follows(970, 971, 980, None) is Verdict.NEXT
    assert rule.follows(970, 972, 980, None) is Verdict.GAP


def test_it_pings_in_milliseconds() -> None:
    heartbeat = EXCHANGE.streams[0].heartbeat
    assert heartbeat is not None
    assert callable(heartbeat.frame)
    assert json.loads(heartbeat.frame(1_790_000_000_123_456_789)) == {"ping": 1_790_000_000_123}
