"""Keep an order book: `python keep_a_book.py /run/aggregator/feed.sock kraken:BTC/USD`."""

import asyncio
import sys

from aggregator.client import connect


async def main(address: str, name: str) -> None:
    """Print the best bid and ask whenever they have changed, and say when they cannot be trusted."""
    before = None
    async with connect(address) as feed:
        await feed.book(name)
        async for book in feed.changes():
            best = (book.doubt,) if book.doubt else (*book.bids(1), *book.asks(1))
            if best != before:
                print(*best, flush=True)
                before = best
        print("the feed has ended:", feed.goodbye)


asyncio.run(main(*sys.argv[1:]))
