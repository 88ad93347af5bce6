"""DigiFinex: spot in the older dialect of ViaBTC's protocol, perpetual contracts in one of its own.

https://github.com/DigiFinex/api/blob/master/Websocket_API_en.md
https://docs.digifinex.com/en-ww/swap/v2/ws.html
Both compress each frame themselves.
"""

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Poll, Request, Stream, Subscription
from aggregator.records import DAY_S, Channel, Instrument
from aggregator.refusals import coded
from aggregator.wire import unzlib
from connectors.digifinex.rest import SPOT, SWAP, ask_trades, read, read_trades, rows
from connectors.digifinex.swap_frames import CHANNELS, DEPTH, asking, parse
from connectors.families.viabtc import dotted_frames

PAIRS: dict[Channel, str] = {"trades": "trades", "book": "depth", "bbo": "ticker", "ticker": "ticker"}
WORDS = ("trades", "depth", "ticker")


def is_pair(instrument: Instrument) -> bool:
    return instrument.kind == "spot"


def is_contract(instrument: Instrument) -> bool:
    return instrument.kind != "spot"


def pair_topic(s: Subscription) -> tuple[str, str]:
    return PAIRS[s.channel], s.raw_symbol


def contract_topic(s: Subscription) -> tuple[str, str]:
    return CHANNELS[s.channel], s.raw_symbol


EXCHANGE = Exchange(
    id="digifinex",
    docs="https://docs.digifinex.com",
    checked="2026-09, live probes of its contracts by others; its documentation of spot, which is older",
    trouble=coded("code", "msg", fine=("0",)),
    limits=Limits(weights={SWAP: ((6000, 60),)}, lifetime=DAY_S),
    notes=(
        "Books are without numbers: a frame that is lost does not show.",
        "Trades of contracts are asked for by REST; their side is of the position that was opened or closed.",
        "BETHUSDTPERP and OETHUSDTPERP are of ETH, too, so that three contracts have one name (September 2026).",
        "Candles are not followed: what the socket sends of them is published nowhere.",
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
            topic=contract_topic,
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
        Poll(
            name="trades",
            channels=("trades",),
            every=15,
            request=ask_trades,
            parse=read_trades,
            serves=is_contract,
        ),
    ),
)
