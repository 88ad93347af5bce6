"""What is said of the markets that a configuration asks for."""

from types import SimpleNamespace

import pytest

from aggregator.daemon.followed import Followed
from aggregator.ingest.listing import Listed, Markets
from aggregator.records import Instrument
from tests.support.toy import toy


def test_a_pattern_whose_markets_are_all_halted_is_not_called_unknown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    runner = SimpleNamespace(dividing=lambda *_: iter(()), carrying=lambda *_: iter(()), unserved={}, left_out=[])
    halted = Instrument(raw_symbol="AB", symbol="A/B", base="A", quote="B", state="halt")
    markets = Markets(Listed(0, (halted,), (0,), frozenset({0})))
    config = SimpleNamespace(symbols=("*", "X/*"))
    Followed(config, toy(), runner, markets).follow()  # type: ignore[arg-type]
    assert "no instrument is named '*'" not in caplog.text
    assert "no instrument is named 'X/*'" in caplog.text
    assert "1 markets are halted and wait for that to change: AB" in caplog.text
    assert "there is nothing to follow" in caplog.text
