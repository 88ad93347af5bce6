"""BigONE: pairs, and perpetual contracts, of which each book has an address of its own.

https://open.big.one/docs/api.html
"""

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Poll, Request, Snapshot, Stream
from aggregator.records import Instrument
from aggregator.refusals import coded
from aggregator.sequence import linked
from connectors.bigone import contract_frames, spot_frames
from connectors.bigone.rest import API, read, read_tickers, rows

PING = Heartbeat(30, b'{"ping":7}')


def is_pair(instrument: Instrument) -> bool:
    return instrument.kind == "spot"


def is_contract(instrument: Instrument) -> bool:
    return instrument.kind != "spot"


EXCHANGE = Exchange(
    id="bigone",
    docs="https://open.big.one/docs/api.html",
    checked="2026-09, live probes of its contracts by others; public clients, older, for pairs",
    trouble=coded("code", "message", fine=("0",)),
    limits=Limits(weights={"https://big.one/api": ((500, 10),)}),
    notes=(
        "The stream of pairs has not been probed in 2026: it is read as public clients read it.",
        "A book of a contract has a connection of its own; the exchange allows five of them to a user.",
        "Trades and candles of contracts are not followed: the shape of their frames is published nowhere.",
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
        Stream(
            name="contract-books",
            url=contract_frames.book_url,
            serves=is_contract,
            channels=contract_frames.BOOK,
            subscribe=contract_frames.ask,
            parse=contract_frames.parse_book,
            heartbeat=PING,
            snapshot=Snapshot(request=contract_frames.ask_book, parse=contract_frames.read_book, after_delta=False),
            sequence={"book": linked},
            per_connection=1,
            batch=1,
            acknowledges=False,
        ),
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
