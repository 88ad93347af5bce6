"""BTSE: spot pairs, perpetual contracts, and dated ones.

https://docs.btse.com
Books and best prices have sockets of their own (`oss`). A contract's name is the short one of the sockets, `BTC-PERP`;
the lists by REST add the quote currency to it. The topic of spot trades is `tradeHistoryApi`, as the documentation has
it; that of contracts ends in `V3`.
"""

from collections.abc import Callable, Iterable, Sequence

from aggregator.exchange import (
    Exchange,
    Heartbeat,
    Limits,
    Listing,
    Older,
    Poll,
    Request,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import Channel, Instrument
from aggregator.refusals import coded
from aggregator.sequence import linked
from aggregator.wire import at, encode
from connectors.btse.frames import DEPTH, parse
from connectors.btse.rest import API, HISTORY, MARKETS, ask_candles, read_candles, read_days, read_market, read_prices

BOOKS: dict[Channel, str] = {"book": "update:{}_0", "bbo": "snapshotL1:{}"}
SPOT: dict[Channel, str] = {"trades": "tradeHistoryApi:{}"}
CONTRACTS: dict[Channel, str] = {"trades": "tradeHistoryApiV3:{}"}


def is_spot(instrument: Instrument) -> bool:
    return instrument.kind == "spot"


def is_contract(instrument: Instrument) -> bool:
    return instrument.kind != "spot"


def stream(name: str, path: str, channels: dict[Channel, str], serves: Callable[[Instrument], bool]) -> Stream:
    def topic(s: Subscription) -> str:
        return channels[s.channel].format(s.raw_symbol)

    def asking(operation: str) -> Subscribe:
        def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
            yield encode({"op": operation, "args": list(map(topic, wanted))})

        return ask

    return Stream(
        name=name,
        url=f"wss://ws.btse.com/ws/{path}",
        compression="offered",
        channels=channels,
        serves=serves,
        topic=topic,
        subscribe=asking("subscribe"),
        unsubscribe=asking("unsubscribe"),
        parse=parse,
        tells_past=("trades",) if "trades" in channels else (),
        heartbeat=Heartbeat(every=15, frame=b"ping"),
        sequence={"book": linked} if "book" in channels else {},
        depth=DEPTH if "book" in channels else None,
        per_connection=100,
    )


EXCHANGE = Exchange(
    id="btse",
    older=(Older(channels=("book",), until="2023-04"),),
    docs="https://docs.btse.com",
    checked="2026-09, live probes of contracts by others; 2026-11, its documentation for spot and clients of others",
    trouble=coded("code", "msg", fine=("1",), busy=("429",)),
    limits=Limits(weights={API: ((50, 2),)}, connections=50),
    listing=Listing((Request(f"{MARKETS}/markets"),), at("data", "symbols"), read_market),
    history=HISTORY,
    feeds=(
        stream("spot-books", "oss/spot", BOOKS, is_spot),
        stream("spot", "spot", SPOT, is_spot),
        stream("contract-books", "oss/futures", BOOKS, is_contract),
        stream("contracts", "futures", CONTRACTS, is_contract),
        Poll(
            name="days",
            channels=("ticker", "funding", "open_interest"),
            every=60,
            request=lambda _: Request(f"{MARKETS}/ticker/24hr"),
            parse=read_days,
            many=True,
        ),
        Poll(
            name="prices",
            channels=("mark_price", "index_price"),
            every=5,
            request=lambda _: Request(f"{API}/futures/api/v2.3/price"),
            parse=read_prices,
            many=True,
            serves=is_contract,
        ),
        Poll(name="candles", channels=("candles",), every=60, request=ask_candles, parse=read_candles),
    ),
    notes=(
        f"Books have {DEPTH} levels a side. The topic of best prices at times stands still for seconds.",
        "The side of a trade is taken for the taker's: the documentation does not say whose it is.",
        "Statistics, funding and open interest are made anew each minute, over 24 to 25 hours.",
        "Candles are of one minute alone, and are asked for; their volume is of the quote currency.",
        "Some contracts are of stocks and metals, with names that are those of coins too (GAS).",
    ),
)
