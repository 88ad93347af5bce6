"""A small backtest on what `aggregator export --to hftbacktest` wrote: one order rests until it is filled.

Usage: first_backtest.py DIRECTORY, with the Python of an environment that has hftbacktest 2.4.
"""

import json
import sys
from pathlib import Path

from hftbacktest import GTC, LIMIT, BacktestAsset, HashMapMarketDepthBacktest

SECOND_NS = 1_000_000_000
ORDER = 1

directory = Path(sys.argv[1])
market = json.loads((directory / "report.json").read_text())["markets"][0]
tick_size, lot_size = (float(market["details"][name]) for name in ("tick_size", "lot_size"))
asset = (
    BacktestAsset()
    .data([str(directory / file["name"]) for file in market["files"]])
    .tick_size(tick_size)
    .lot_size(lot_size)
    .linear_asset(1.0)
    .constant_order_latency(10_000_000, 10_000_000)
    .risk_adverse_queue_model()
    .no_partial_fill_exchange()
    .trading_value_fee_model(0.0, 0.0)
)
backtest = HashMapMarketDepthBacktest([asset])
while backtest.elapse(SECOND_NS) == 0:
    depth = backtest.depth(0)
    if not depth.best_bid > 0:  # in a gap there is no book: the best prices are NaN
        continue
    if backtest.position(0) == 0 and ORDER not in backtest.orders(0):
        backtest.submit_buy_order(0, ORDER, depth.best_bid, 100 * lot_size, GTC, LIMIT, False)  # noqa: FBT003 - do not wait
    backtest.clear_inactive_orders(0)
    print(f"{depth.best_bid:.2f} {depth.best_ask:.2f}  position {backtest.position(0):g}")
print(market["exchange"], market["symbol"], "position at the end:", backtest.position(0))
backtest.close()
