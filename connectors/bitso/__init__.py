"""Bitso, spot.

https://docs.bitso.com/bitso-api/docs/general
The book is told order by order (channel `diff-orders`); the whole is had by REST, with the same numbers. By the
documentation a cancelled order comes without its amount and a filled one with it; live probes (2026-09) saw the
reverse. So whatever is not `open` is gone, and its amount is not looked at.
"""

from collections.abc import Iterable, Sequence

from aggregator.exchange import (
    Backfill,
    Exchange,
    Limits,
    Listing,
    Poll,
    Request,
    Snapshot,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.refusals import coded
from aggregator.sequence import contiguous, ordered
from aggregator.wire import at, encode
from connectors.bitso.rest import API, missed, read_market, read_missed, read_tickers, read_whole
from connectors.bitso.wires import CHANNELS, parse


def asking(action: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for s in wanted:
            yield encode({"action": action, "book": s.raw_symbol, "type": CHANNELS[s.channel]})

    return ask


EXCHANGE = Exchange(
    id="bitso",
    docs="https://docs.bitso.com/bitso-api/docs/general",
    checked="2026-09, live probes by others, and its documentation of 2026-03",
    trouble=coded("code", "message", within="error", busy=("0801", "0802")),
    notes=(
        "The book is told order by order: `orders` gives the orders, `book` their sums.",
        "Tickers and best prices are polled; these have no sizes. Candles are had by REST alone, and are not followed.",
        "Markets that are asleep leave the listing; it says nothing else of their state.",
        "Trades are numbered over all books, so that a hole does not show; behind a gap they are asked for.",
    ),
    limits=Limits(weights={API: ((60, 60),)}),
    listing=Listing((Request(f"{API}/available_books/"),), at("payload"), read_market),
    feeds=(
        Stream(
            url="wss://ws.bitso.com",
            channels=CHANNELS,
            topic=lambda s: (CHANNELS[s.channel], s.raw_symbol),
            subscribe=asking("subscribe"),
            unsubscribe=asking("unsubscribe"),
            parse=parse,
            snapshot=Snapshot(
                request=lambda s: Request(f"{API}/order_book/?book={s}&aggregate=false"), parse=read_whole
            ),
            sequence={"book": contiguous, "trades": ordered},
            backfill=Backfill(missed, read_missed),
            pace=0.05,
        ),
        Poll(
            channels=("ticker", "bbo"),
            every=10,
            request=lambda _: Request(f"{API}/ticker/"),
            parse=read_tickers,
            many=True,
        ),
    ),
)
