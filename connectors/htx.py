"""HTX, formerly Huobi: spot, linear swaps and futures, inverse swaps.

https://www.htx.com/en-us/opend/newApiPages/
Sizes of derivatives count contracts; those of trades, and volumes, count the buyer and the seller.
"""

from aggregator.exchange import Exchange, Listing, Request
from aggregator.records import Instrument
from aggregator.sequence import contiguous, linked
from aggregator.wire import at
from connectors.families.htx import stream
from connectors.families.htx.history import history
from connectors.families.htx.listing import read_instrument, trouble
from connectors.families.htx.wires import CONTRACTS, NOTICES, PRICES, SPOT, SPOT_BOOK

SPOT_HOSTS = ("api.huobi.pro", "api-aws.huobi.pro")  # the first, then mirrors
CONTRACT_HOSTS = ("api.hbdm.com", "api.hbdm.vn")


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
        "Books have 150 levels a side.",
        "Mark and index prices are the closes of one-minute bars that the exchange updates; only perpetuals have them.",
        "Funding and liquidations are subscribed to for perpetuals alone; a liquidation has its bankruptcy price.",
        "`ts_listed` of contracts is a day.",
        "Inverse dated futures have an address of their own and are not listed.",
    ),
)
