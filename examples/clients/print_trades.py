"""Print the trades of a running daemon: `python print_trades.py /run/aggregator/feed.sock 'trades:*:BTC/USDT'`."""

import sys

from aggregator.client.sync import connect
from aggregator.records import Gap, Lag, Trade


def main(address: str, *topics: str) -> None:
    """Print until the feed ends."""
    with connect(address) as feed:
        feed.subscribe(*topics)
        for record in feed:
            if isinstance(record, Trade):
                print(record.exchange, record.symbol, record.side or "-", record.size, "at", record.price, flush=True)
            elif isinstance(record, Gap) and record.phase == "open":
                print(record.exchange, record.symbol, "something is missing from here on:", record.cause, flush=True)
            elif isinstance(record, Lag):
                print("this program was too slow:", record.missed, "records are lost", flush=True)
        print("the feed has ended:", feed.goodbye)


main(*sys.argv[1:])
