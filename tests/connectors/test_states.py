"""A market where positions can be closed, and none opened, is not told as one that trades, wherever that is said."""

import json
from collections.abc import Mapping

import pytest

from aggregator.catalog.registry import load_exchange
from aggregator.ingest.listing import life
from aggregator.records import Instrument, MarketState

XT: dict[str, object] = {
    "symbol": "a_usdt",
    "contractSize": "0.01",
    "underlyingType": "U_BASED",
    "productType": "perpetual",
    "baseCoin": "a",
    "quoteCoin": "usdt",
}
APEX: dict[str, object] = {"crossSymbolName": "AUSDT", "baseTokenId": "A", "settleAssetId": "USDT"}
LIGHTER: dict[str, object] = {"symbol": "A", "market_id": 7, "market_type": "perp"}
BITRUE: dict[str, object] = {"symbol": "E-A-USDT", "type": "E", "side": 1, "multiplier": 1, "pricePrecision": 2}
BULLISH: dict[str, object] = {"symbol": "AUSD", "baseSymbol": "A", "quoteSymbol": "USD"}
ORDERLY: dict[str, object] = {"symbol": "PERP_A_USDC"}
KRAKEN: dict[str, object] = {"wsname": "A/USD", "pair_decimals": 2, "lot_decimals": 8}
EXTENDED: dict[str, object] = {"name": "A-USD", "assetName": "A", "collateralAssetName": "USD"}
NADO: dict[str, object] = {
    "product_id": 2,
    "symbol": "A-PERP",
    "type": "perp",
    "price_increment_x18": "1",
    "size_increment": "1",
    "min_size": "1",
}
HASHKEY: dict[str, object] = {
    "symbol": "AUSDT-PERPETUAL",
    "baseAsset": "A",
    "quoteAsset": "USDT",
    "contractMultiplier": "0.001",
}
BINGX: dict[str, object] = {"symbol": "A-USDT", "asset": "A", "currency": "USDT", "pricePrecision": 2}
BINGX_PAIR: dict[str, object] = {"symbol": "A-USDT", "stepSize": "0.1", "tickSize": "0.1"}
CASES: list[tuple[str, Mapping[str, object], MarketState]] = [
    ("xt", XT | {"tradeSwitch": True, "openSwitch": True}, "trading"),
    ("xt", XT | {"tradeSwitch": True, "openSwitch": False}, "reduce_only"),
    ("xt", XT | {"tradeSwitch": False, "openSwitch": True}, "halt"),
    ("apex", APEX | {"enableTrade": True, "enableOpenPosition": True}, "trading"),
    ("apex", APEX | {"enableTrade": True, "enableOpenPosition": False}, "reduce_only"),
    ("apex", APEX | {"enableTrade": False, "enableOpenPosition": False}, "halt"),
    ("lighter", LIGHTER | {"status": "active"}, "trading"),
    ("lighter", LIGHTER | {"status": "active", "market_config": {"force_reduce_only": False}}, "trading"),
    ("lighter", LIGHTER | {"status": "active", "market_config": {"force_reduce_only": True}}, "reduce_only"),
    ("lighter", LIGHTER | {"status": "inactive", "market_config": {"force_reduce_only": True}}, "halt"),
    ("bitrue", BITRUE | {"status": 1}, "trading"),
    ("bitrue", BITRUE | {"status": 0}, "halt"),
    ("bitrue", BITRUE | {"status": 3}, "unknown"),
    ("bullish", BULLISH | {"marketEnabled": True, "createOrderEnabled": True}, "trading"),
    ("bullish", BULLISH | {"marketEnabled": True, "createOrderEnabled": False}, "cancel_only"),
    ("bullish", BULLISH | {"createOrderEnabled": False, "cancelOrderEnabled": False}, "halt"),
    ("bullish", BULLISH | {"marketEnabled": False}, "halt"),
    ("woofipro", ORDERLY | {"status": "REDUCE_ONLY"}, "reduce_only"),
    ("modetrade", ORDERLY | {"status": "REDUCE_ONLY"}, "reduce_only"),
    ("kraken", KRAKEN | {"status": "reduce_only"}, "reduce_only"),
    ("extended", EXTENDED | {"status": "REDUCE_ONLY"}, "reduce_only"),
    ("nado", NADO | {"trading_status": "reduce_only"}, "reduce_only"),
    ("nado", NADO | {"trading_status": "soft_reduce_only"}, "reduce_only"),
    ("bingx", BINGX | {"status": 1}, "trading"),
    ("bingx", BINGX | {"status": 25}, "reduce_only"),  # "forbidden to open positions" (docs-v3, 2026-08)
    ("bingx", BINGX_PAIR | {"status": 25}, "halt"),  # "suspended": the same number is another state of pairs
    ("bingx", BINGX_PAIR | {"status": 29}, "unknown"),  # "pre-delisted"
    ("bingx", BINGX_PAIR | {"status": 29, "apiStateBuy": True, "apiStateSell": True}, "trading"),
    ("bingx", BINGX_PAIR | {"status": 29, "apiStateBuy": False, "apiStateSell": True}, "trading"),
    ("bingx", BINGX_PAIR | {"status": 29, "apiStateBuy": False, "apiStateSell": False}, "halt"),
    ("hashkey", HASHKEY | {"status": "OPEN_FORBIDDEN"}, "reduce_only"),
]


def read(id: str, row: Mapping[str, object]) -> Instrument:
    exchange = load_exchange(id)
    assert exchange is not None
    found = exchange.listing.read(json.dumps(dict(row)).encode())  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize(("id", "row", "state"), CASES)
def test_what_can_be_done_in_a_market_is_told(id: str, row: Mapping[str, object], state: MarketState) -> None:
    assert read(id, row).state == state


def test_a_market_where_positions_are_closed_is_followed_because_it_has_trades() -> None:
    assert life(read("woofipro", ORDERLY | {"status": "REDUCE_ONLY"}), 0) == "trading"
