"""BingX: spot pairs, contracts settled in USDT or USDC, and contracts settled in coins, each with a socket of its own.

https://bingx-api.github.io/docs-v3/
Every frame is gzipped. A request names one topic; its answer names the request.
"""

import re
from collections.abc import Callable, Mapping

from aggregator.exchange import Exchange, Limits, Stream
from aggregator.records import Channel, Instrument
from aggregator.refusals import coded
from aggregator.sequence import Rule, contiguous, ordered
from connectors.bingx import frames, rest
from connectors.bingx.listing import LISTING, REST, is_inverse, is_linear, is_spot

# The first change after a whole book has the next number; after that numbers skip, and nothing is lost.
SKIPPING = Rule("skipping", contiguous.joins, ordered.follows, sure=False)

BANNED = re.compile(r"(?:unblocked after|retry after time:) ?(\d{13})\b")


def stream(
    name: str, url: str, channels: Mapping[Channel, str], serves: Callable[[Instrument], bool], book: Rule | None = None
) -> Stream:
    return Stream(
        name=name,
        url=url,
        channels=channels,
        serves=serves,
        subscribe=frames.asking("sub", channels),
        unsubscribe=frames.asking("unsub", channels),
        parse=frames.parse,
        inflate=frames.inflate,
        sequence={} if book is None else {"book": book},
        depth=100 if book is None else 1024,  # those that come whole are `depth100`; others never held more levels
        per_connection=200,
        batch=1,
        pace=0.12,  # ten requests a second
        patience=30,  # the exchange pings every five seconds
    )


EXCHANGE = Exchange(
    id="bingx",
    docs="https://bingx-api.github.io/docs-v3/",
    checked="2026-09, live probes of contracts by others; pairs: ccxt 4.5.90 and BingX.Net",
    trouble=coded("code", "msg", fine=("0",), busy=("100410", "109429"), until=BANNED),
    limits=Limits(weights={REST: ((500, 10),)}, connections=60),
    listing=LISTING,
    feeds=(
        stream("linear", "wss://open-api-swap.bingx.com/swap-market", frames.LINEAR, is_linear, SKIPPING),
        stream("spot", "wss://open-api-ws.bingx.com/market", frames.SPOT, is_spot),
        stream("inverse", "wss://open-api-cswap-ws.bingx.com/market", frames.INVERSE, is_inverse),
        rest.PREMIUM,
        rest.INVERSE_PREMIUM,
        rest.OPEN_INTEREST,
    ),
    notes=(
        "Sizes are of the base asset, but of contracts settled in coins, where they count contracts.",
        "Trades of contracts settled in USDT or USDC have no id.",
        "Books of pairs and of contracts settled in coins come whole, up to a hundred levels a side.",
        "Books of other contracts skip numbers, so that a change that is lost cannot be told by them.",
        "The best prices of a contract begin with the last that were told, which may be minutes old.",
        "Open interest of contracts settled in coins is not told, as sources disagree about what it counts.",
        "The funding rate is that of the running interval as it stands, though its field is called the last one.",
        "There are no liquidations.",
    ),
)
