"""XT: spot, and contracts that settle in USDT or in their base asset.

https://doc.xt.com/
"""

from aggregator.exchange import Exchange, Heartbeat, Limits, Poll, Request, Snapshot, Stream, Subscription
from aggregator.records import Instrument
from aggregator.sequence import contiguous, linked
from connectors.xt.frames import CONTRACT_READERS, CONTRACTS, SPOT_READERS, asking, parser, topic
from connectors.xt.frames import SPOT as PAIRS
from connectors.xt.listing import INVERSE, LINEAR, LISTING, SPOT, trouble
from connectors.xt.rest import ask_contract_book, ask_spot_book, read_bests, read_contract_book, read_spot_book

PING = Heartbeat(15, b"ping")  # silence of thirty seconds closes the connection, whatever it carries
DEPTH = ((10, 1.0),)  # the limit of books by REST


def is_pair(instrument: Instrument) -> bool:
    return instrument.kind == "spot"


def is_contract(instrument: Instrument) -> bool:
    return instrument.kind != "spot"


def pair_topic(s: Subscription) -> str:
    return topic(PAIRS, s)


def contract_topic(s: Subscription) -> str:
    return topic(CONTRACTS, s)


EXCHANGE = Exchange(
    id="xt",
    docs="https://doc.xt.com/",
    checked="2026-09, live probes of its contracts by others; 2026-11, ccxt 4.5.90 for all",
    trouble=trouble,
    limits=Limits(
        weights={f"{api}/v1/public/q/depth": DEPTH for api in (LINEAR, INVERSE)} | {SPOT: ((1000, 60), (10, 1.0))}
    ),
    notes=(
        "Trades of contracts have no number, so what is missed of them cannot be told by it.",
        "Best prices of contracts come with the ticker once a second, and without sizes; those of pairs by REST.",
        "The rate of funding moves until it is exchanged; how often and when that is, the listing says.",
        "Mark, index and funding are about a second old when they come (September 2026).",
        "A delisted contract is confirmed, and then silent.",
        "A contract that `isOpenApi` closes to orders by API is told all the same (September 2026).",
        "Open interest is not declared: nothing says what its number counts.",
    ),
    listing=LISTING,
    feeds=(
        Stream(
            name="spot",
            url="wss://stream.xt.com/public",
            serves=is_pair,
            channels=PAIRS,
            topic=pair_topic,
            subscribe=asking(PAIRS, "subscribe"),
            unsubscribe=asking(PAIRS, "unsubscribe", "-"),
            parse=parser(SPOT_READERS),
            heartbeat=PING,
            snapshot=Snapshot(request=ask_spot_book, parse=read_spot_book),
            sequence={"book": contiguous},
        ),
        Stream(
            name="contracts",
            url="wss://fstream.xt.com/ws/market",
            serves=is_contract,
            channels=CONTRACTS,
            topic=contract_topic,
            subscribe=asking(CONTRACTS, "SUBSCRIBE"),
            unsubscribe=asking(CONTRACTS, "UNSUBSCRIBE", "-"),
            parse=parser(CONTRACT_READERS),
            heartbeat=PING,
            snapshot=Snapshot(request=ask_contract_book, parse=read_contract_book),
            sequence={"book": linked},
        ),
        Poll(
            name="best",
            channels=("bbo",),
            every=10,
            request=lambda _: Request(f"{SPOT}/ticker/book"),
            parse=read_bests,
            serves=is_pair,
            many=True,
        ),
    ),
)
