"""Luno, spot: a book told order by order.

https://www.luno.com/en/developers/api
One market a connection, which the address alone names. The documentation wants to see keys in the first frame; live
probes (2026-09) got everything without them on eleven connections of eleven. A trade takes from its maker's order, and
one that is filled by that is not told to be gone.
"""

from collections.abc import Sequence

from aggregator.exchange import (
    Backfill,
    Credentials,
    Exchange,
    Keys,
    Limits,
    Listing,
    Poll,
    Request,
    Stream,
    Subscription,
)
from aggregator.refusals import coded
from aggregator.sequence import contiguous, ordered
from aggregator.wire import at, encode
from connectors.luno.rest import API, HOST, missed, read_market, read_tickers, read_trades
from connectors.luno.wires import CHANNELS, with_keys, without_keys


def address(wanted: Sequence[Subscription]) -> str:
    return f"wss://ws.luno.com/api/1/stream/{wanted[0].raw_symbol if wanted else ''}"


def log_in(keys: Credentials, _: int, __: bytes) -> bytes:
    return encode({"api_key_id": keys["key_id"], "api_key_secret": keys["key_secret"]})


def stream(name: str, *, has_keys: bool) -> Stream:
    return Stream(
        name=name,
        url=address,
        channels=CHANNELS,
        login=b"{}",
        sign=log_in if has_keys else None,
        subscribe=lambda _, __: (),
        parser=with_keys if has_keys else without_keys,
        sequence={"book": contiguous, "trades": ordered},
        backfill=Backfill(missed, read_trades),
        per_connection=len(CHANNELS),
        one_market=True,
        acknowledges=False,
    )


EXCHANGE = Exchange(
    id="luno",
    docs="https://www.luno.com/en/developers/api",
    checked="2026-09, live probes by others; its documentation",
    keys=Keys(fields={"key_id": "API key ID", "key_secret": "API key secret"}, page="https://www.luno.com/developers"),
    trouble=coded("error_code", "error", busy=("ErrTooManyRequests",)),
    notes=(
        "The book is told order by order: `orders` gives the orders, `book` their sums.",
        "Without keys it gives the same until now, against its documentation. Each market has a connection, of fifty.",
        "A trade's price is that of the order which it met; its side is null where that order is not known.",
        "Tickers, states and best prices are polled; these have no sizes. Candles want keys, and are not followed.",
    ),
    limits=Limits(weights={HOST: ((300, 60),)}, connections=50),
    listing=Listing(
        (Request(f"{HOST}/api/exchange/1/markets"),), at("markets"), read_market, state=("trading_status",)
    ),
    feeds=(
        stream("keys", has_keys=True),
        stream("main", has_keys=False),
        Poll(
            name="tickers",
            channels=("ticker", "bbo", "status"),
            every=10,
            request=lambda _: Request(f"{API}/tickers"),
            parse=read_tickers,
            many=True,
        ),
    ),
)
