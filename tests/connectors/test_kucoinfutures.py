"""KuCoin futures: what the listing knows of a rate that the stream tells alone."""

import json

from aggregator.records import Funding, Instrument
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.kucoinfutures import EXCHANGE

SECOND = 10**9
AT = 1_790_114_460


def test_the_rate_that_will_be_paid_has_its_interval_and_its_time_from_the_listing() -> None:
    """684 of 684 rates to come were null in September 2026; the unified address says `nt` 1790121600000 of this one."""
    listed = Instrument(
        raw_symbol="XBTUSDTM", kind="perpetual", funding_interval_s=28_800, funding_offset_s=1_790_121_600 % 28_800
    )
    stream = EXCHANGE.streams[0]
    session = Session("kucoinfutures", stream, conn="x#1", instruments={"XBTUSDTM": listed}, channels={"funding"})
    data = {"period": 1, "granularity": 60_000, "fundingRate": -0.000076, "timestamp": AT * 1000}
    topic = "/contract/instrument:XBTUSDTM"
    frame = json.dumps({"topic": topic, "type": "message", "subject": "funding.rate", "data": data}).encode()
    [rate] = [r for r in session.receive([frame], Now(AT * SECOND, 1)) if isinstance(r, Funding)]
    assert (rate.kind, rate.rate, rate.interval_s) == ("current", "-0.000076", 28_800)
    assert rate.ts_next == 1_790_121_600 * SECOND


def test_a_settled_rate_is_told_once_when_settlement_begins() -> None:
    session = Session("kucoinfutures", EXCHANGE.streams[0], conn="x#1", instruments={}, channels={"funding"})
    data = {"symbol": "XBTUSDTM", "fundingTime": AT * 1000, "fundingRate": 0.0001, "timestamp": AT * 1000}
    words = {"topic": "/contract/announcement", "type": "message", "data": data}
    out = [
        record
        for subject in ("funding.begin", "funding.end")
        for record in session.receive([json.dumps(words | {"subject": subject}).encode()], Now(AT * SECOND, 1))
    ]
    assert [(r.kind, r.ts_next) for r in out if isinstance(r, Funding)] == [("settled", AT * SECOND)]
