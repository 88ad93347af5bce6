"""What is said of the markets that a configuration asks for."""

import asyncio
from types import SimpleNamespace

import pytest
from msgspec import structs

from aggregator.cluster.buckets import SymbolPart, bucket_of
from aggregator.daemon.followed import Followed
from aggregator.ingest.listing import Listed, Markets
from aggregator.records import Instrument
from tests.support.toy import toy
from tests.support.virtual_time import run


def test_a_pattern_whose_markets_are_all_halted_is_not_called_unknown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    runner = SimpleNamespace(dividing=lambda *_: iter(()), carrying=lambda *_: iter(()), unserved={}, left_out=[])
    halted = Instrument(raw_symbol="AB", symbol="A/B", base="A", quote="B", state="halt")
    markets = Markets(Listed(0, (halted,), (0,), frozenset({0})))
    config = SimpleNamespace(symbols=("*", "X/*"), part=None)
    Followed(config, toy(), runner, markets).follow()  # type: ignore[arg-type]
    assert "no instrument is named '*'" not in caplog.text
    assert "no instrument is named 'X/*'" in caplog.text
    assert "1 markets are halted and wait for that to change: AB" in caplog.text
    assert "there is nothing to follow" in caplog.text


@pytest.mark.parametrize(("least", "passed", "seconds"), [(0, 0, 900), (0, 600, 300), (0, 1000, 0), (500, 600, 500)])
def test_a_listing_that_is_not_of_now_is_asked_for_again_sooner(least: float, passed: float, seconds: float) -> None:
    async def waits() -> float:
        runner, markets = SimpleNamespace(), Markets(Listed(0, (), (), frozenset()))
        followed = Followed(SimpleNamespace(relist=900.0), toy(), runner, markets)  # type: ignore[arg-type]
        begun = asyncio.get_running_loop().time()
        await followed.until_relisting(least, passed)
        return asyncio.get_running_loop().time() - begun

    assert run(waits()) == pytest.approx(seconds)


def test_of_a_part_only_its_markets_are_followed_named_and_waited_for() -> None:
    runner = SimpleNamespace(dividing=lambda *_: iter(()), carrying=lambda *_: iter(()), unserved={}, left_out=[])
    some = [Instrument(raw_symbol=f"A{n}", symbol=f"A{n}/B", base=f"A{n}", quote="B") for n in range(40)]
    halted = [structs.replace(each, raw_symbol=f"H{each.raw_symbol}", state="halt") for each in some]
    markets = Markets(Listed(0, (*some, *halted), tuple(range(80)), frozenset(range(80))))
    followed = {}
    for bucket in range(3):
        config = SimpleNamespace(symbols=("*",), part=SymbolPart(3, frozenset({bucket})))
        each = Followed(config, toy(), runner, markets)  # type: ignore[arg-type]
        each.follow()
        followed[bucket] = {instrument.raw_symbol for instrument in each.chosen}
        assert followed[bucket] == {i.raw_symbol for i in some if bucket_of(str(i.raw_symbol), 3) == bucket}
        named = {instrument.raw_symbol for instrument in each.named(markets.instruments)}
        waiting = {found[0].raw_symbol for found in each.waiting() if found}
        assert named == followed[bucket] | waiting
        assert all(bucket_of(str(symbol), 3) == bucket for symbol in waiting)
    assert set().union(*followed.values()) == {instrument.raw_symbol for instrument in some}
