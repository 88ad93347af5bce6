"""The Deribit protocol: JSON-RPC 2.0, one socket for spot, futures and options.

https://docs.deribit.com/articles/notifications
"""

from collections.abc import Iterable, Sequence

from aggregator.exchange import (
    Archive,
    Backfill,
    Exchange,
    Heartbeat,
    Limits,
    Listing,
    Request,
    Since,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import MS_NS
from aggregator.sequence import contiguous, linked
from aggregator.wire import at, encode
from connectors.families.deribit.frames import CHANNELS, PLATFORM, TEST, parser
from connectors.families.deribit.history import history
from connectors.families.deribit.listing import read_instrument, read_past, trouble
from connectors.families.deribit.wires import RESOLUTIONS

HEARTBEAT = b'{"jsonrpc":"2.0","id":0,"method":"public/set_heartbeat","params":{"interval":30}}'


def topic(s: Subscription) -> str:
    if s.channel == "candles":
        return f"chart.trades.{s.raw_symbol}.{RESOLUTIONS.get(s.interval, s.interval.removesuffix('m'))}"
    if s.channel == "bbo":
        return f"quote.{s.raw_symbol}"
    return f"{CHANNELS[s.channel]}.{s.raw_symbol}.100ms"  # `raw` is only for those who have logged in


def asking(method: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        topics = dict.fromkeys(map(topic, wanted))
        if method == "public/subscribe" and any(s.channel == "status" for s in wanted):
            topics[PLATFORM] = None
        yield encode({"jsonrpc": "2.0", "id": id, "method": method, "params": {"channels": list(topics)}})

    return ask


def exchange(
    id: str,
    *,
    docs: str,
    stream: str,
    rest: str,
    checked: str,
    notes: tuple[str, ...] = (),
    announced: tuple[str, ...] = (),
    test_every: float | None = None,
    archives: tuple[Archive, ...] = (),
) -> Exchange:
    """Declare an exchange that speaks Deribit.

    test_every: seconds between requests that only keep the connection, where answering heartbeats does not
    """

    def past(raw_symbol: str, since: Since) -> Request:
        method, start = "get_last_trades_by_instrument", f"start_seq={(since.sequence or 0) + 1}"
        if since.sequence is None:
            method, start = f"{method}_and_time", f"start_timestamp={since.ts // MS_NS}"
        return Request(f"{rest}/public/{method}?instrument_name={raw_symbol}&{start}&count=1000&sorting=asc")

    return Exchange(
        id=id,
        trouble=trouble,
        docs=docs,
        checked=checked,
        announced=announced,
        archives=archives,
        limits=Limits(weights={rest: ((20, 1),)}, connections=32),  # HTTP is counted in
        listing=Listing(
            tuple(
                Request(f"{rest}/public/get_instruments?currency=any&kind={kind}")
                for kind in ("future", "option", "spot")
            ),
            at("result"),
            read_instrument,
        ),
        history=history(rest, past),
        feeds=(
            Stream(
                url=stream,
                channels=CHANNELS,
                login=HEARTBEAT,  # once a connection: it asks for beats, and for nothing else
                subscribe=asking("public/subscribe"),
                unsubscribe=asking("public/unsubscribe"),
                parser=parser,
                sequence={"book": linked, "trades": contiguous},
                backfill=Backfill(past, read_past),
                heartbeat=None if test_every is None else Heartbeat(test_every, TEST),
                per_connection=4000,  # every channel of 6000 instruments takes 18 connections; no limit is documented
                batch=500,  # all at once, as several channels are one topic of the exchange
                pace=0.4,
                patience=45,  # the exchange beats every 30 s, as it is asked to
            ),
        ),
        notes=notes,
    )
