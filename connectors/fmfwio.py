"""FMFW.io.

https://api.fmfw.io/
"""

from connectors.families import hitbtc

EXCHANGE = hitbtc.exchange(
    "fmfwio",
    host="api.fmfw.io",
    docs="https://api.fmfw.io/",
    checked="2026-09, live probes by others",
)
