"""BigONE: pairs, and perpetual contracts, of which each topic has an address of its own.

https://open.big.one/docs/api.html
"""

from collections.abc import Mapping
from typing import Any

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Poll, Request, Stream
from aggregator.records import Channel, Instrument
from aggregator.refusals import coded
from aggregator.sequence import linked
from connectors.bigone import contract_frames, spot_frames
from connectors.bigone.rest import API, read, read_tickers, rows

PING = Heartbeat(30, b'{"ping":7}')


def is_pair(instrument: Instrument) -> bool:
    return instrument.kind == "spot"


def is_contract(instrument: Instrument) -> bool:
    return instrument.kind != "spot"


def of_one(name: str, channels: Mapping[Channel, str], **rest: Any) -> Stream:
    """A stream of contracts of which each connection has one topic."""
    return Stream(
        name=name,
        url=contract_frames.address(channels),
        serves=is_contract,
        channels=channels,
        subscribe=contract_frames.ask,
        heartbeat=PING,
        per_connection=1,
        batch=1,
        acknowledges=False,
        **rest,
    )


EXCHANGE = Exchange(
    id="bigone",
    docs="https://open.big.one/docs/api.html",
    checked="2026-09, live probes of its contracts by others; of pairs public clients, which are older",
    trouble=coded("code", "message", fine=("0",)),
    limits=Limits(weights={"https://big.one/api": ((500, 10),)}),
    notes=(
        "The stream of pairs has not been probed in 2026: it is read as public clients read it.",
        "Candles of pairs, as those of contracts, are told while they run.",
        "A contract's book, trades and candles have each a connection of their own; a user is allowed five.",
        "Trades of contracts have no side, as it is said nowhere whose the one is that they name.",
        "How often funding is exchanged, in one, four or eight hours, is nowhere on the wire (September 2026).",
        "A trade of a pair has no side where the exchange leaves it out.",
    ),
    listing=Listing((Request(f"{API}/asset_pairs"), Request(f"{contract_frames.API}/symbols")), rows, read),
    feeds=(
        Stream(
            name="spot",
            url="wss://big.one/ws/v2",
            mirrors=("wss://api.big.one/ws/v2",),
            headers={"Sec-WebSocket-Protocol": "json"},  # without it the handshake is answered by 403
            serves=is_pair,
            channels=spot_frames.CHANNELS,
            subscribe=spot_frames.ask,
            unsubscribe=spot_frames.leave,
            parse=spot_frames.parse,
            sequence={"book": linked},
            batch=1,
        ),
        of_one(
            "contract-books",
            contract_frames.BOOK,
            parse=contract_frames.parse_book,
            sequence={"book": linked},
            one_market=True,
        ),
        of_one("contract-trades", contract_frames.TRADES, parse=contract_frames.parse_trades, tells_past=("trades",)),
        of_one("contract-candles", contract_frames.CANDLES, parse=contract_frames.parse_bars),
        Stream(
            name="contract-figures",
            url=f"{contract_frames.WS}/instruments",
            serves=is_contract,
            channels=contract_frames.FIGURES,
            subscribe=contract_frames.ask,
            parse=contract_frames.parse_figures,
            heartbeat=PING,
            per_connection=2000,
            batch=2000,
            acknowledges=False,
        ),
        Poll(
            name="tickers",
            channels=("ticker", "bbo"),
            every=10,
            request=lambda _: Request(f"{API}/asset_pairs/tickers"),
            parse=read_tickers,
            serves=is_pair,
            many=True,
        ),
    ),
)
