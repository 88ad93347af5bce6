"""Deribit: options, and futures that settle in coins or stablecoins.

https://docs.deribit.com
"""

from connectors.families import deribit

EXCHANGE = deribit.exchange(
    "deribit",
    docs="https://docs.deribit.com",
    stream="wss://www.deribit.com/ws/api/v2",
    rest="https://www.deribit.com/api/v2",
    checked="2026-09, live probes by others; 2026-11, its page about connections",
    notes=(
        "Sizes of inverse futures are US dollars (`size_unit` is `quote`); all others are of the base asset.",
        "Funding is paid continuously: the rate is what eight hours would cost at this moment.",
        "Volatilities are sent in per cent, and published as fractions.",
        "Liquidations are marks on trades; where both sides were forced, one trade gives two.",
        "Options that settle in coins are quoted in the coin; their contract size (of the base asset) is not given.",
        "A locked index is told as the state `unknown` of the whole exchange; each instrument tells its own state.",
        "`platform_state` repeats 2.6 times a second that nothing is locked: each connection tells changes alone.",
        "Combinations (`future_combo`, `option_combo`) are left out.",
    ),
)
