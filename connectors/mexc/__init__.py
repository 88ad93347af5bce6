"""MEXC: spot pairs in protobuf, and perpetual contracts in JSON.

https://www.mexc.com/api-docs/spot-v3/websocket-market-streams
"""

from collections.abc import Mapping

from aggregator.exchange import Budget, Exchange, Heartbeat, Limits, Older, Stream
from aggregator.records import DAY_S
from aggregator.refusals import coded
from aggregator.sequence import contiguous
from connectors.families.mexc import contract_frames
from connectors.families.mexc.listing import listing
from connectors.mexc import spot_frames
from connectors.mexc.history import history

SPOT = "https://api.mexc.com/api/v3"
CONTRACT = "https://api.mexc.com/api/v1/contract"
SLOWER: Mapping[str, tuple[Budget, ...]] = {f"{CONTRACT}/{what}": ((10, 2),) for what in ("depth", "ticker", "detail")}

EXCHANGE = Exchange(
    id="mexc",
    older=(Older(channels=("trades", "book", "bbo", "ticker", "candles"), until="2025-08"),),
    docs="https://www.mexc.com/api-docs/spot-v3/websocket-market-streams",
    trouble=coded("code", "message", fine=("0", "200"), busy=("510",)),  # contracts say it by code; spot by HTTP status
    limits=Limits(weights={SPOT: ((500, 10),), CONTRACT: ((20, 2),), **SLOWER}, lifetime=DAY_S),
    listing=listing(SPOT, CONTRACT),
    history=history(SPOT, CONTRACT),
    feeds=(
        Stream(
            name="spot",
            url="wss://wbs-api.mexc.com/ws",
            channels=spot_frames.CHANNELS,
            serves=lambda i: i.kind == "spot",
            topic=spot_frames.topic,
            subscribe=spot_frames.asking("SUBSCRIPTION"),
            unsubscribe=spot_frames.asking("UNSUBSCRIPTION"),
            parse=spot_frames.parse,
            snapshot=spot_frames.snapshot(SPOT),
            sequence={"book": contiguous},
            heartbeat=Heartbeat(every=20, frame=b'{"method":"PING"}'),
            per_connection=30,
            batch=30,
        ),
        Stream(
            name="contract",
            url="wss://contract.mexc.com/edge",
            channels=contract_frames.CHANNELS,
            serves=lambda i: i.kind != "spot",
            subscribe=contract_frames.asking("sub"),
            unsubscribe=contract_frames.asking("unsub"),
            parse=contract_frames.parse,
            snapshot=contract_frames.snapshot(CONTRACT),
            sequence={"book": contiguous},
            heartbeat=Heartbeat(every=15, frame=b'{"method":"ping"}'),
            patience=45,  # a ping is answered even when nothing else is to be said
            batch=200,  # several channels are one of the exchange's
            pace=0.05,
        ),
    ),
    checked="2026-09, live probes by others",
    notes=(
        "Spot trades have an id since June 2026.",
        "Captures of spot from before August 2025, in JSON, are read too.",
        "Sizes of contracts count contracts; of the volumes of their candles and tickers, the turnover alone is told.",
        "The best prices of contracts come without sizes, and are up to three seconds old.",
        "Changes of a contract's book that come close together are told as one: singly, ETH alone sent 2194 a second.",
        "A contract's ticker says the funding rate too; when that is due follows from the intervals listed.",
    ),
)
