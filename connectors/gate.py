"""Gate: spot, perpetuals by the asset in which they settle, dated futures and options.

https://www.gate.com/docs/developers/apiv4/ws/en/
"""

from collections.abc import Callable, Mapping

from msgspec import structs

from aggregator.exchange import Exchange, Limits, Trouble
from aggregator.records import Instrument, Kind
from aggregator.refusals import coded
from aggregator.wire import ms, seconds
from connectors.families.gate import FUTURES, OPTIONS, PERPETUALS, SPOT, listing, stream

API = "https://api.gateio.ws/api/v4"
FUTURES_WS = "wss://fx-ws.gateio.ws/v4/ws"


def settled(kind: Kind, asset: str | None) -> Callable[[Instrument], bool]:
    return lambda instrument: instrument.kind == kind and instrument.settle == asset


says = coded("label", "message", fine=(), busy=("TOO_MANY_REQUESTS", "TOO_BUSY"))


def trouble(status: int, headers: Mapping[str, str], body: bytes) -> Trouble | None:
    """When a limit ends stands in a header.

    Its documentation gives no unit, and users of it report seconds as well as milliseconds (2026): the length tells.
    """
    said, reset = says(status, headers, body), headers.get("x-gate-ratelimit-reset-timestamp", "")
    if said is None or not said.is_busy or not reset.isdecimal():
        return said
    return structs.replace(said, until=(ms if len(reset) > len("1795867200") else seconds)(int(reset)))


EXCHANGE = Exchange(
    id="gate",
    docs="https://www.gate.com/docs/developers/apiv4/ws/en/",
    checked="2026-09, live probes by others",
    trouble=trouble,
    limits=Limits(weights={API: ((200, 10),)}, connects=(300, 300)),
    listing=listing(
        API,
        (
            "spot/currency_pairs",
            "futures/usdt/contracts",
            "futures/btc/contracts",
            "futures/usd1/contracts",
            "delivery/usdt/contracts",
            "options/underlyings",
        ),
    ),
    feeds=(
        stream("spot", "wss://api.gateio.ws/ws/v4/", SPOT, settled("spot", None), api=API),
        stream("usdt", f"{FUTURES_WS}/usdt", PERPETUALS, settled("perpetual", "USDT"), api=API),
        stream("btc", f"{FUTURES_WS}/btc", PERPETUALS, settled("perpetual", "BTC"), api=API),
        stream("usd1", f"{FUTURES_WS}/usd1", PERPETUALS, settled("perpetual", "USD1"), api=API),
        stream(
            "delivery",
            f"{FUTURES_WS}/delivery/usdt",
            FUTURES,
            settled("future", "USDT"),
            api=API,
            path="delivery/usdt",
        ),
        stream(
            "options",
            "wss://op-ws.gateio.live/v4/ws",
            OPTIONS,
            settled("option", "USDT"),
            api=API,
            path="options",
        ),
    ),
    notes=(
        "A book is of 400 levels a side; dated futures have 100, options 50.",
        "A book of a market that is not there is accepted, and stays silent.",
        "Funding is told as current alone: what the exchange calls indicative, and has deprecated, is the same rate.",
        "Trades outside of the book, by which the insurance fund takes over a position, are of kind `liquidation`.",
        "Candles of options have no volume: what the exchange sends counts contracts.",
    ),
)
