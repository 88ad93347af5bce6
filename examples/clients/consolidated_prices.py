"""The best prices over several exchanges: `python consolidated_prices.py ADDRESS kraken:BTC/USD bitstamp:BTC/USD`."""

import asyncio
import sys
import time
from decimal import Decimal

from aggregator.client import LiveBook, connect

AGED_S = 10.0  # a book that has not changed for so long is left out, whatever its exchange says
PRINT_S = 1.0


def age(book: LiveBook) -> float:
    """Seconds since the book last changed; without end where it never has. The daemon's clock may be ahead of ours."""
    return float("inf") if book.last is None else max(0.0, (time.time_ns() - book.last.ts_recv) / 1e9)


def standing(book: LiveBook) -> str:
    """Why a book has no part in the best prices; empty where it has one."""
    if book.doubt:
        return book.doubt
    if not (book.bids(1) and book.asks(1)):
        return "a side is empty"
    return "" if age(book) <= AGED_S else f"nothing for {age(book):.0f} s"


def best(books: list[LiveBook]) -> str:
    """The best bid and the best ask of the books that can be trusted, and where they are."""
    sound = [book for book in books if not standing(book)]
    if not sound:
        return "no book can be trusted"
    bid = max(sound, key=lambda book: Decimal(book.bids(1)[0][0]))
    ask = min(sound, key=lambda book: Decimal(book.asks(1)[0][0]))
    return f"{bid.bids(1)[0][0]} {bid.exchange} | {ask.asks(1)[0][0]} {ask.exchange}  ({len(sound)} of {len(books)})"


def lines(books: list[LiveBook]) -> list[str]:
    """The best prices, and each book with its own, its state and its age."""
    told = [best(books)]
    for book in books:
        prices = " | ".join(side[0][0] if side else "-" for side in (book.bids(1), book.asks(1)))
        told.append(f"  {book.exchange} {book.symbol}: {prices}, {standing(book) or f'live, {age(book):.0f} s old'}")
    return told


async def main(address: str, *names: str) -> None:
    """Print each second how things stand; a connection that ends is made anew."""
    async with connect(address, reconnect=True) as feed:
        books = [await feed.book(name) for name in names]

        async def tell() -> None:
            while True:
                print(*lines(books), sep="\n", flush=True)
                await asyncio.sleep(PRINT_S)

        telling = asyncio.ensure_future(tell())
        try:
            async for _ in feed.changes():
                pass  # the books hold what has come
        finally:
            telling.cancel()


asyncio.run(main(*sys.argv[1:]))
