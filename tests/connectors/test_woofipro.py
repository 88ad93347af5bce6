"""WOOFi Pro: perpetuals of builders beside Orderly's own."""

import json

from aggregator.ingest.listing import read_bodies
from connectors.woofipro import EXCHANGE


def test_a_builders_perpetual_is_told_apart_by_its_raw_name() -> None:
    """In September 2026, 59 of 139 were a builder's; whichever is listed first, the plain symbol is Orderly's own."""
    rows = [
        {"symbol": "PERP_AAA_USDC_bld", "broker_id": "bld", "status": "ACTIVE"},
        {"symbol": "PERP_AAA_USDC", "broker_id": None, "status": "ACTIVE"},
        {"symbol": "PERP_BBB_USDC_bld", "broker_id": "bld", "status": "ACTIVE"},
    ]
    listed = read_bodies(EXCHANGE, [json.dumps({"data": {"rows": rows}}).encode()], {}, 1)
    assert {i.raw_symbol: i.symbol for i in listed.instruments} == {
        "PERP_AAA_USDC": "AAA/USDC:USDC",
        "PERP_AAA_USDC_bld": "AAA/USDC:USDC~PERP_AAA_USDC_bld",
        "PERP_BBB_USDC_bld": "BBB/USDC:USDC",
    }
