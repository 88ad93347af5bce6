"""Coinbase Exchange.

https://docs.cdp.coinbase.com/exchange/docs/websocket-channels
https://docs.cdp.coinbase.com/exchange/websocket-feed/authentication
The public book is `level2_batch` (every 50 ms); `level2` and `full` want to see keys. A book by level has neither
numbers nor a checksum; the messages of `full`, order by order, are numbered.
"""

import hmac
from base64 import b64decode, b64encode

from msgspec import Raw
from msgspec.json import Decoder

from aggregator.exchange import Backfill, Credentials, Exchange, Keys, Limits, Listing, Request, Snapshot, Stream
from aggregator.records import SECOND_NS
from aggregator.refusals import coded
from aggregator.sequence import contiguous
from aggregator.wire import encode
from connectors.coinbaseexchange.history import HISTORY
from connectors.coinbaseexchange.order_wires import parse_orders
from connectors.coinbaseexchange.rest import (
    API,
    all_orders,
    decode_products,
    missed,
    read_missed,
    read_orders,
    read_product,
)
from connectors.coinbaseexchange.wires import CHANNELS, ORDERS, SIGNED, asking, parse

HOST = "wss://ws-feed.exchange.coinbase.com"

decode_request = Decoder(dict[str, Raw]).decode


def signed(keys: Credentials, now: int, frame: bytes) -> bytes:
    """Sign a request for topics as if it asked `GET /users/self/verify` at this second."""
    at = str(now // SECOND_NS)
    digest = hmac.digest(b64decode(keys["secret"]), f"{at}GET/users/self/verify".encode(), "sha256")
    shown = {"key": keys["key"], "passphrase": keys["passphrase"], "timestamp": at}
    return encode({**decode_request(frame), **shown, "signature": b64encode(digest).decode()})


EXCHANGE = Exchange(
    id="coinbaseexchange",
    checked="2026-09, live probes by others; 2026-11, ccxt 4.5.90",
    docs="https://docs.cdp.coinbase.com/exchange/docs/websocket-channels",
    keys=Keys(
        fields={"key": "API key", "passphrase": "passphrase", "secret": "API secret"},
        page="https://exchange.coinbase.com/apikeys",
    ),
    notes=(
        "With keys the book comes with each change (channel `level2`), without every 50 ms (`level2_batch`).",
        "Single orders (`orders`, channel `full`) are given only to who shows keys; the book is then made of them.",
        "bbo comes with each trade (channel `ticker`), not with each change of the best prices.",
        "A book by level has no numbers and no checksum: a frame that is lost unseen cannot be noticed by anyone.",
    ),
    trouble=coded("message"),
    limits=Limits(weights={API: ((10, 1),)}, connects=(8, 1)),
    history=HISTORY,
    listing=Listing((Request(f"{API}/products"),), decode_products, read_product),
    feeds=(
        Stream(
            name="level2",
            url=HOST,
            sign=signed,
            channels=SIGNED,
            subscribe=asking("subscribe", SIGNED),
            unsubscribe=asking("unsubscribe", SIGNED),
            parse=parse,
            per_connection=100,
            pace=0.15,
        ),
        Stream(
            url=HOST,
            channels=CHANNELS,
            subscribe=asking("subscribe"),
            unsubscribe=asking("unsubscribe"),
            parse=parse,
            sequence={"trades": contiguous},
            backfill=Backfill(missed, read_missed),
            per_connection=100,
            pace=0.15,  # eight messages a second are allowed
        ),
        Stream(
            name="full",
            url=HOST,
            sign=signed,
            channels=ORDERS,
            subscribe=asking("subscribe", ORDERS),
            unsubscribe=asking("unsubscribe", ORDERS),
            parse=parse_orders,
            snapshot=Snapshot(request=all_orders, parse=read_orders),
            sequence={"book": contiguous},
            per_connection=100,
            pace=0.15,
        ),
    ),
)
