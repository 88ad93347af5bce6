"""HTX, formerly Huobi: spot, linear swaps and futures, inverse swaps.

https://www.htx.com/en-us/opend/newApiPages/
Frames are gzipped. Topics are `market.<symbol>.<kind>`; on the sockets of notices they are `public.<symbol>.<kind>`,
and frames have an `op`. Spot symbols are lower case, contract codes upper case. Sizes of derivatives count contracts;
those of trades, and volumes, count the buyer and the seller.
"""

from collections.abc import Callable, Iterable, Sequence

from aggregator.exchange import Exchange, Listing, Request, Snapshot, Stream, Subscribe, Subscription
from aggregator.records import Channel, Instrument
from aggregator.sequence import Rule, contiguous, linked
from aggregator.wire import at, encode, gunzip
from connectors.htx.frames import parser
from connectors.htx.history import history
from connectors.htx.listing import read_instrument, trouble
from connectors.htx.wires import CONTRACTS, DEPTH, NOTICES, PERIODS, PRICES, SPOT, SPOT_BOOK

SPOT_HOSTS = ("api.huobi.pro", "api-aws.huobi.pro")  # the first, then mirrors
CONTRACT_HOSTS = ("api.hbdm.com", "api.hbdm.vn")


def market(verb: str, channels: dict[Channel, str]) -> Subscribe:
    """Frames that subscribe to market data or leave it: one topic each."""

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for s in wanted:
            period = f".{PERIODS.get(s.interval, s.interval)}" if s.channel == "candles" else ""
            topic = {verb: f"market.{s.raw_symbol}.{channels[s.channel]}{period}", "id": str(id)}
            yield encode(topic | {"data_type": "incremental"} if topic[verb].endswith(".high_freq") else topic)

    return ask


def notices(verb: str) -> Subscribe:
    """Frames that subscribe to notices or leave them."""

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for s in wanted:
            yield encode({"op": verb, "cid": str(id), "topic": f"public.{s.raw_symbol}.{NOTICES[s.channel]}"})

    return ask


def ask_book(raw_symbol: str, id: int) -> bytes:
    return encode({"req": f"market.{raw_symbol}.{SPOT_BOOK['book']}", "id": str(id)})


def is_spot(instrument: Instrument) -> bool:
    return instrument.kind == "spot"


def is_perpetual(instrument: Instrument) -> bool:
    return instrument.kind == "perpetual"


def is_linear(instrument: Instrument) -> bool:
    return instrument.linear is True


def is_linear_swap(instrument: Instrument) -> bool:
    return instrument.linear is True and instrument.kind == "perpetual"


def is_inverse(instrument: Instrument) -> bool:
    return instrument.linear is False and instrument.kind == "perpetual"


def stream(
    name: str,
    hosts: Sequence[str],
    path: str,
    channels: dict[Channel, str],
    serves: Callable[[Instrument], bool],
    book: Rule | None = None,
) -> Stream:
    has_op = channels is NOTICES
    return Stream(
        name=name,
        url=f"wss://{hosts[0]}/{path}",
        mirrors=tuple(f"wss://{host}/{path}" for host in hosts[1:]),
        channels=channels,
        serves=serves,
        subscribe=notices("sub") if has_op else market("sub", channels),
        unsubscribe=notices("unsub") if has_op else market("unsub", channels),
        parser=parser,
        inflate=gunzip,
        snapshot=Snapshot(ask=ask_book) if channels is SPOT_BOOK else None,
        sequence={} if book is None else {"book": book},
        depth=None if book is None else DEPTH,
        batch=1,  # each topic has a frame, an answer and so an id of its own
        patience=30,  # the exchange pings every five seconds
    )


EXCHANGE = Exchange(
    id="htx",
    docs="https://www.htx.com/en-us/opend/newApiPages/",
    checked="2026-09, live probes by others",
    trouble=trouble,
    listing=Listing(
        (
            Request(f"https://{SPOT_HOSTS[0]}/v1/common/symbols"),
            Request(f"https://{CONTRACT_HOSTS[0]}/linear-swap-api/v1/swap_contract_info?business_type=all"),
            Request(f"https://{CONTRACT_HOSTS[0]}/swap-api/v1/swap_contract_info"),
        ),
        at("data"),
        read_instrument,
        state=("state", "contract_status"),
    ),
    history=history(SPOT_HOSTS[0], CONTRACT_HOSTS[0], (is_spot, is_linear, is_inverse)),
    feeds=(
        stream("spot", SPOT_HOSTS, "ws", SPOT, is_spot),
        stream("spot-book", SPOT_HOSTS, "feed", SPOT_BOOK, is_spot, linked),
        stream("linear", CONTRACT_HOSTS, "linear-swap-ws", CONTRACTS, is_linear, contiguous),
        stream("inverse", CONTRACT_HOSTS, "swap-ws", CONTRACTS, is_inverse, contiguous),
        stream("prices", CONTRACT_HOSTS, "ws_index", PRICES, is_perpetual),
        stream("linear-notices", CONTRACT_HOSTS, "linear-swap-notification", NOTICES, is_linear_swap),
        stream("inverse-notices", CONTRACT_HOSTS, "swap-notification", NOTICES, is_inverse),
    ),
    notes=(
        "Trade sizes and volumes of contracts count the buyer and the seller: twice what changed hands.",
        "A spot frame with several trades has the newest first; one of contracts has the oldest first.",
        "The last trade from before the subscription comes first and is flagged `snapshot`.",
        "Books have 150 levels a side.",
        "Mark and index prices are the closes of one-minute bars that the exchange updates; only perpetuals have them.",
        "Funding and liquidations are subscribed to for perpetuals alone; a liquidation has its bankruptcy price.",
        "`ts_listed` of contracts is a day.",
        "Inverse dated futures have an address of their own and are not listed.",
    ),
)
