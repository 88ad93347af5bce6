"""Kraken's unified address, as far as it serves derivatives: the successor of `futures.kraken.com`.

https://docs.kraken.com/exchange/api-reference/unified-websocket
Read in November 2026; nothing was seen live. It speaks version 2 as spot does, beside an `asset_class` in each request.
Sizes count contracts, as everywhere on Kraken's futures. What is declared is what is documented: of its ticker only
the fields that spot's has are known (so neither funding, marks, indices nor open interest), it comes with trades alone
(so no best prices), and of a trade nothing tells a liquidation.
"""

from collections.abc import Iterable

from aggregator.exchange import Event, Heartbeat, Stream
from aggregator.records import Channel, Ticker, Trade
from aggregator.sequence import contiguous
from connectors.families.kraken import asking, checksum, parse
from connectors.families.kraken.wires import DEPTH

CHANNELS: dict[Channel, str] = {"trades": "trade", "book": "book", "ticker": "ticker"}
DERIVATIVES = {"asset_class": "derivatives"}
LINEAR = ("PF_", "FF_", "PV_", "FV_")  # how the names of contracts begin that are a unit of the base asset each


def parse_contracts(frame: bytes) -> Iterable[Event]:
    """Read frames as those of spot, with sizes in contracts; the volume of inverse contracts is in no asset."""
    for event in parse(frame):
        if type(event) is Trade:
            event.size_unit = "contract"
        elif type(event) is Ticker and not (event.raw_symbol or "").startswith(LINEAR):
            event.base_volume = None
        yield event


def stream(url: str, since: str) -> Stream:
    """Declare the address, from the day on which it takes the place of the one before it."""
    return Stream(
        name="unified",
        url=url,
        since=since,
        channels=CHANNELS,
        subscribe=asking("subscribe", DERIVATIVES),
        unsubscribe=asking("unsubscribe", DERIVATIVES),
        parse=parse_contracts,
        heartbeat=Heartbeat(10, b'{"method":"ping"}'),  # answered, whatever else there is to say
        sequence={"trades": contiguous},
        checksum=checksum,
        depth=DEPTH,
        per_connection=300,
        patience=30,
    )
