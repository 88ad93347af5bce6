"""Indodax, spot, by Centrifugo's protocol of version 2.

https://github.com/btcid/indodax-official-api-docs/blob/master/Marketdata-websocket.md
Its `chart:tick-` tells the trades of `trade-activity` once more, without their pair and side, and is left alone.
"""

from aggregator.exchange import Details, Exchange, Heartbeat, Limits, Listing, Poll, Request, Snapshot, Stream
from aggregator.refusals import coded
from aggregator.wire import encode
from connectors.indodax.frames import CHANNELS, ask, parse, topic
from connectors.indodax.rest import (
    ask_candles,
    increments,
    read_candles,
    read_depth,
    read_increment,
    read_pair,
    read_quotations,
)
from connectors.indodax.wires import decode_pairs

API = "https://indodax.com/api"
# The documentation prints this token for everybody; it is good until September 2031.
TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjE5NDY2MTg0MTV9.UR1lBM6Eqh0yWz-PVirw1uPCxe60FdchR8eNVdsskeo"  # noqa: S105
CONNECT, PING = 2_000_000_000, 2_000_000_001  # ids that no request for a topic has

EXCHANGE = Exchange(
    id="indodax",
    docs="https://github.com/btcid/indodax-official-api-docs/blob/master/Marketdata-websocket.md",
    checked="2026-09, its documentation and live probes by others",
    trouble=coded("error", "error_description"),
    limits=Limits(weights={"https://indodax.com": ((180, 60),)}),
    notes=(
        "The book is the best fifty levels a side, told whole each time; a quiet pair's is had by REST.",
        "A pair that does not exist may be confirmed and stay silent.",
        "Candles are of one minute alone, and are asked for; their volume, of an asset that is not said, is left out.",
        "The best prices are asked for, and have no sizes.",
    ),
    listing=Listing(
        (Request(f"{API}/pairs"),),
        decode_pairs,
        read_pair,
        details=(Details(Request(f"{API}/price_increments"), increments, read_increment),),
    ),
    feeds=(
        Stream(
            url="wss://ws3.indodax.com/ws/",
            login=encode({"params": {"token": TOKEN}, "id": CONNECT}),
            greets=True,
            channels=CHANNELS,
            topic=topic,
            subscribe=ask(1),
            unsubscribe=ask(2),
            parse=parse,
            heartbeat=Heartbeat(20, encode({"method": 7, "id": PING})),
            snapshot=Snapshot(
                request=lambda raw_symbol: Request(f"{API}/depth/{raw_symbol}", fresh="n"),
                parse=read_depth,
                in_band=True,
            ),
            depth=50,
            per_connection=128,
            batch=1,
        ),
        Poll(
            name="bbo",
            channels=("bbo",),
            every=10,
            request=lambda _: Request(f"{API}/ticker_all", fresh="n"),
            parse=read_quotations,
            many=True,
        ),
        Poll(name="candles", channels=("candles",), every=60, request=ask_candles, parse=read_candles),
    ),
)
