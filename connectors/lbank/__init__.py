"""LBank: pairs by its documented socket, perpetual contracts by REST and, for trades, the socket of its own pages.

https://www.lbank.com/en-US/docs/index.html
https://www.lbank.com/docs/contract.html
"""

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Poll, Request, Stream
from aggregator.records import Instrument
from aggregator.refusals import coded
from connectors.lbank import contract_frames, spot_frames
from connectors.lbank.rest import CONTRACTS, PAIRS, ask_book, read, read_book, read_figures, rows
from connectors.lbank.spot_wires import DEPTH


def is_pair(instrument: Instrument) -> bool:
    return instrument.kind == "spot"


def is_contract(instrument: Instrument) -> bool:
    return instrument.kind != "spot"


EXCHANGE = Exchange(
    id="lbank",
    docs="https://www.lbank.com/en-US/docs/index.html",
    checked="2026-09, live probes of its contracts by others; ccxt 4.5.90 for pairs",
    trouble=coded("error_code", "msg", fine=("0",), busy=("183",)),
    limits=Limits(weights={CONTRACTS: ((20, 1),)}),
    notes=(
        "Books of pairs come whole each time, of a hundred levels a side; best prices alone are in no stream.",
        "Times of pairs are of Beijing on the wire, and are told in UTC.",
        "Trades of pairs have no number; those of contracts have no side, as nothing says whose direction they name.",
        "Books of contracts are asked for by REST: those of its socket go stale on quiet contracts (September 2026).",
        "Funding, mark and index prices of contracts are asked for by REST, all in one answer.",
        "Open interest and candles of contracts are in no answer that is documented.",
        "A contract's ticker tells no volume: its `turnover` is about half of what its `volume` is worth.",
        "Nothing says of how long its open, high and low are; in samples of 2023 and 2024 they are of less than a day.",
    ),
    listing=Listing((Request(PAIRS), Request(f"{CONTRACTS}/instrument?productGroup=SwapU")), rows, read),
    feeds=(
        Stream(
            name="spot",
            url="wss://www.lbkex.net/ws/V2/",
            serves=is_pair,
            channels=spot_frames.CHANNELS,
            subscribe=spot_frames.asking("subscribe"),
            unsubscribe=spot_frames.asking("unsubscribe"),
            parse=spot_frames.parse,
            heartbeat=Heartbeat(20, b'{"action":"ping","ping":"0ca8f854-7ba7-4341-9d86-d3327e52804e"}'),
            depth=DEPTH,
            acknowledges=False,
        ),
        Stream(
            name="contracts",
            url="wss://lbkperpws.lbank.com/ws",
            serves=is_contract,
            channels=contract_frames.TRADES,
            subscribe=contract_frames.asking("1"),
            unsubscribe=contract_frames.asking("0"),
            parse=contract_frames.parse,
            heartbeat=Heartbeat(15, b"ping"),
            per_connection=100,
            pace=0.1,  # twenty requests a second are allowed
        ),
        Poll(name="book", channels=("book",), every=5, request=ask_book, parse=read_book, serves=is_contract),
        Poll(
            name="figures",
            channels=("ticker", "mark_price", "index_price", "funding"),
            every=5,
            request=lambda _: Request(f"{CONTRACTS}/marketData?productGroup=SwapU"),
            parse=read_figures,
            serves=is_contract,
            many=True,
        ),
    ),
)
