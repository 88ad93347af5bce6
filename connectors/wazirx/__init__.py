"""WazirX, spot and perpetual futures: two addresses of one protocol.

https://docs.wazirx.com/
It calls the levels of every book "to be updated". Those of futures are whole books all the same (live probes by others,
September 2026). Nobody was found who saw spot since it opened again in October 2025: of its two books the one of a
fixed number of levels is followed, for such a book can but be whole.
"""

from collections.abc import Callable, Mapping

from aggregator.exchange import (
    Backfill,
    Exchange,
    Heartbeat,
    Limits,
    Listing,
    Parse,
    Request,
    Snapshot,
    Stream,
)
from aggregator.records import Channel, Instrument
from aggregator.refusals import coded
from aggregator.sequence import Rule, ordered
from aggregator.wire import at, encode
from connectors.wazirx.frames import FUTURES, SPOT, ask, naming, parse_futures, parse_spot
from connectors.wazirx.rest import (
    HOST,
    ask_futures,
    ask_spot,
    missed,
    read_futures,
    read_market,
    read_missed,
    read_spot,
)
from connectors.wazirx.wires import LEVELS


def stream(
    name: str,
    url: str,
    channels: Mapping[Channel, str],
    parse: Parse,
    snapshot: Snapshot,
    serves: Callable[[Instrument], bool],
    *,
    sequence: Mapping[Channel, Rule] = {},
    backfill: Backfill | None = None,
) -> Stream:
    topic = naming(channels)
    return Stream(
        name=name,
        url=url,
        channels=channels,
        serves=serves,
        topic=topic,
        subscribe=ask("subscribe", topic),
        unsubscribe=ask("unsubscribe", topic),
        parse=parse,
        heartbeat=Heartbeat(600, encode({"event": "ping"})),
        snapshot=snapshot,
        sequence=sequence,
        backfill=backfill,
        depth=LEVELS,
        batch=1,  # an answer leaves out the topics that are not served, and only its number names them then
        pace=0.25,
        patience=150,  # the exchange pings by the protocol each minute
    )


EXCHANGE = Exchange(
    id="wazirx",
    docs="https://docs.wazirx.com/",
    checked="2026-09, live probes of futures by others; 2026-11, the documentation of spot",
    trouble=coded("code", "message", busy=("2136",)),
    notes=(
        f"A book is told whole each time, its best {LEVELS} levels a side.",
        "Futures have the book of Binance, its prices moved outward (live probes by others, September 2026).",
        "Of 450 futures 265 had no book in the stream (September 2026): it is refused.",
        "Every contract settles in INR, those that are quoted in USDT, too. Trades of futures have no id.",
        "How often funding is exchanged is not said. Candles of futures are left out: no source shows them.",
        "Best prices of spot come with the ticker, without sizes, when something of it has changed.",
    ),
    limits=Limits(
        weights={f"{HOST}/sapi": ((1, 1),), f"{HOST}/fapi": ((1, 1),)},
        requests=(5, 1),
        lifetime=1800,
    ),
    listing=Listing(
        (Request(f"{HOST}/sapi/v1/exchangeInfo"), Request(f"{HOST}/fapi/v1/exchangeInfo")),
        at("symbols"),
        read_market,
    ),
    feeds=(
        stream(
            "spot",
            "wss://stream.wazirx.com/stream",
            SPOT,
            parse_spot,
            Snapshot(ask_spot, read_spot, in_band=True),
            lambda i: i.kind == "spot",
            sequence={"trades": ordered},
            backfill=Backfill(missed, read_missed),
        ),
        stream(
            "futures",
            "wss://fstreamx.wazirx.com/stream",
            FUTURES,
            parse_futures,
            Snapshot(ask_futures, read_futures, in_band=True),
            lambda i: i.kind == "perpetual",
        ),
    ),
)
