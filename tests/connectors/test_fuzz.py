"""A short run of `tests.support.fuzz`, the same on every machine.

The long one is `python -m tests.support.fuzz --minutes 10`.
"""

from contextlib import suppress
from random import Random

import pytest

from aggregator.bus.bus import Batch
from aggregator.catalog.registry import archived_ids, connector_ids, load_exchange
from aggregator.errors import BadFrame
from aggregator.records import Trade
from tests.support.fuzz import of, try_times
from tests.support.mutants import LARGEST, mutant

FEW = 60  # mutants of what reads an answer; a stream makes hundreds each time
GENUINE = b'{"s":"BTCUSDT","b":[["1.5","2"],["1.4","0"]],"E":1760000000000}'


@pytest.mark.parametrize("id", [*connector_ids(), *archived_ids()])
def test_no_mutant_of_a_genuine_frame_breaks_a_parser_or_a_session(id: str) -> None:
    for parser in of(id):
        looked = try_times(parser, 1 if " " not in parser.name else FEW, seed=0)
        wrong = [one for one in looked.wrong if "takes longer" not in one.what]  # this machine may be busy
        assert not wrong, wrong
        assert looked.mutants


def test_the_same_seed_gives_the_same_mutants() -> None:
    first, second = ([mutant(GENUINE, [GENUINE], rng) for _ in range(500)] for rng in (Random(7), Random(7)))
    assert first == second
    assert len(set(first)) > 300
    assert max(map(len, first)) <= LARGEST


def test_an_integer_that_nothing_can_write_is_left_out_of_its_record() -> None:
    odd, fine = (Trade(raw_symbol=name, price="1", size="2", ts_event=at) for name, at in (("A", 10**5000), ("B", 7)))
    first, second = Batch([odd, fine]).lines
    assert b'"price":"1"' in first
    assert odd.ts_event is None
    assert b'"ts_event":7' in second


@pytest.mark.parametrize(
    ("id", "frame"),
    [
        ("mexc", b'{"channel":"rs.error","data":"' + b"A" * 2_000_000 + b'"}'),
        ("okx", b'{"event":"error","code":"60018","msg":"' + b"instId:" * 200_000 + b'"}'),
        ("bitget", b'{"event":"error","code":30001,"msg":"' + b"channel:a,instId:" * 150_000 + b'"}'),
        ("blofin", b'{"event":"error","code":"60018","msg":"' + b"channel:a,instId:" * 150_000 + b'"}'),
    ],
)
def test_a_long_reason_is_searched_in_one_pass(id: str, frame: bytes) -> None:
    """One letter after the other, each with all that follow it, would take longer than a test may."""
    exchange = load_exchange(id)
    assert exchange is not None
    read = 0
    for stream in exchange.streams:
        with suppress(BadFrame, ValueError):
            read += len(list(stream.reader()(frame)))
    assert read
