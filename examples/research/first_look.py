"""A first look at a recording: a market's trades as a DataFrame, its book at a moment, and what is missing.

Usage: first_look.py DIRECTORY [EXCHANGE SYMBOL], where aggregator and polars are installed.
"""

import sys

from aggregator.research import Recording

directory = sys.argv[1]
exchange, symbol = sys.argv[2:4] or ("binance", "BTC/USDT")
recording = Recording(directory)

trades = recording.trades(exchange, symbol).to_polars()
print(trades.select("ts_recv", "side", "price", "size", "price_text").tail(3))
print("notional:", (trades["price"] * trades["size"]).sum())

moment = trades["ts_recv"].dt.epoch("ns")[-1]
book = recording.book_at(exchange, symbol, moment, depth=3)
print("the book at the last trade:", book.doubt or "whole")
for (bid, bid_size), (ask, ask_size) in zip(book.bids, book.asks, strict=True):
    print(f"{bid_size:>12} {bid:>12} | {ask:<12} {ask_size:<12}")

gaps = recording.gaps(exchange, symbol)
print("gaps:", [(gap.channel, gap.cause, gap.ts_from) for gap in gaps])
