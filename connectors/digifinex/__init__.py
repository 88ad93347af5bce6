"""DigiFinex: spot in the older dialect of ViaBTC's protocol, perpetual contracts in one of its own.

https://github.com/DigiFinex/api/blob/master/Websocket_API_en.md
https://docs.digifinex.com/en-ww/swap/v2/ws.html
Both compress each frame themselves.
"""

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Request, Stream, Subscription
from aggregator.records import DAY_S, Channel, Instrument
from aggregator.refusals import coded
from aggregator.wire import unzlib
from connectors.digifinex.rest import SPOT, SWAP, read, rows
from connectors.digifinex.swap_frames import CHANNELS, DEPTH, asking, parse, topic
from connectors.families.viabtc import dotted_frames

PAIRS: dict[Channel, str] = {"trades": "trades", "book": "depth", "bbo": "ticker", "ticker": "ticker"}
WORDS = ("trades", "depth", "ticker")


def is_pair(instrument: Instrument) -> bool:
    return instrument.kind == "spot"


def is_contract(instrument: Instrument) -> bool:
    return instrument.kind != "spot"


def pair_topic(s: Subscription) -> tuple[str, str]:
    return PAIRS[s.channel], s.raw_symbol


EXCHANGE = Exchange(
    id="digifinex",
    docs="https://docs.digifinex.com",
    checked="2026-09, live probes of its contracts by others; 2026-11, its documentation of trades and candles",
    trouble=coded("code", "msg", fine=("0",)),
    limits=Limits(weights={SWAP: ((6000, 60),)}, lifetime=DAY_S),
    notes=(
        "Books are without numbers: a frame that is lost does not show.",
        "A trade of a contract names an order that opens or closes a position: its side is that order's.",
        "BETHUSDTPERP and OETHUSDTPERP are of ETH, too, so that three contracts have one name (September 2026).",
        "Candles are of contracts alone, and are told while they run; those of spot are in no stream.",
        "Open interest is `-` in its answers (September 2026).",
    ),
    listing=Listing((Request(SPOT), Request(f"{SWAP}/instruments", weight=5)), rows, read),
    feeds=(
        Stream(
            name="spot",
            url="wss://openapi.digifinex.com/ws/v1/",
            serves=is_pair,
            channels=PAIRS,
            topic=pair_topic,
            subscribe=dotted_frames.asking(WORDS, PAIRS),
            parse=dotted_frames.parser(WORDS, PAIRS),
            inflate=unzlib,
            heartbeat=dotted_frames.PING,
            batch=200,
            replaces=True,  # its server is of a kind where a list takes the place of the one before
        ),
        Stream(
            name="contracts",
            url="wss://openapi.digifinex.com/swap_ws/v2/",
            serves=is_contract,
            channels=CHANNELS,
            topic=topic,
            subscribe=asking("subscribe"),
            unsubscribe=asking("unsubscribe"),
            parse=parse,
            inflate=unzlib,
            heartbeat=Heartbeat(20, b'{"id":0,"event":"server.ping"}'),
            depth=DEPTH,
            per_connection=30,  # one more closes the connection
            batch=30,
            pace=0.4,
        ),
    ),
)
