"""Coinbase International: since September 2026 Deribit's protocol, at addresses of Coinbase.

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/guides/derivatives/overview
The addresses are those of ccxt 4.5.90. A client that has said nothing for half a minute is cut off there.
"""

from connectors.coinbaseinternational.legacy import ARCHIVE
from connectors.families import deribit

EXCHANGE = deribit.exchange(
    "coinbaseinternational",
    docs="https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/guides/derivatives/overview",
    stream="wss://streams.drb.coinbase.com/ws/api/v2",
    rest="https://drb.coinbase.com/api/v2",
    checked="ccxt 4.5.90, of 2026-09, and the documentation of Deribit; nothing was seen live",
    announced=("2026-10-01: the exchange of institutions is to be merged into Deribit; its old address ends",),
    test_every=15,
    archives=(ARCHIVE,),
    notes=(
        "Its instruments are those of Deribit's platform: `BTC_USDC-PERPETUAL` has taken the place of `BTC-PERP`.",
        "Sizes of inverse futures are US dollars (`size_unit` is `quote`); all others are of the base asset.",
        "Funding is paid continuously: the rate is what eight hours would cost at this moment.",
    ),
)
