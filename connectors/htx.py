"""HTX, formerly Huobi: spot, linear swaps and futures, inverse swaps.

https://www.htx.com/en-us/opend/newApiPages/
"""

from connectors.families import huobi

EXCHANGE = huobi.exchange(
    "htx",
    docs="https://www.htx.com/en-us/opend/newApiPages/",
    spot=("api.huobi.pro", "api-aws.huobi.pro"),
    derivatives=("api.hbdm.com", "api.hbdm.vn"),
    checked="2026-09, live probes by others",
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
