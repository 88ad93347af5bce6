#!/usr/bin/env bash
# ccxt 4.5.90: `watch_order_book` of coincheck takes each message for the whole book. Coincheck's channel brings what has
# changed, with sizes of 0 for levels that are gone (https://coincheck.com/documents/exchange/api#websocket-order-book);
# no message holds the book. The class resets its book with each one: what was told before is forgotten.
#
# Seen on Python 3.11.7, after two messages of which the second tells one bid and one offer:
#   bids [[6287500.0, 0.1]], asks [[6290500.0, 0.7]]
# By the documentation the book has three bids, 6288000 the best, and two offers, 6290000 the best.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90
cat >"$work/look.py" <<'PY'
from types import SimpleNamespace

import ccxt.pro

exchange = ccxt.pro.coincheck()
market = {"id": "btc_jpy", "symbol": "BTC/JPY", "base": "BTC", "quote": "JPY"}
exchange.set_markets([exchange.safe_market_structure(market)])
client = SimpleNamespace(resolve=lambda *_: None)
for bids, asks in (
    ([["6288000.0", "0.5"], ["6287000.0", "1.2"]], [["6290000.0", "0.3"]]),
    ([["6287500.0", "0.1"]], [["6290500.0", "0.7"]]),
):
    said = {"bids": bids, "asks": asks, "last_update_at": "1705396097"}
    exchange.handle_order_book(client, ["btc_jpy", said])
book = exchange.orderbooks["BTC/JPY"]
print(f"bids {list(map(list, book['bids']))}, asks {list(map(list, book['asks']))}")
PY
"$work/venv/bin/python" "$work/look.py" | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
bids [[6287500.0, 0.1]], asks [[6290500.0, 0.7]]
SEEN
