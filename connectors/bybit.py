"""Bybit.

https://bybit-exchange.github.io/docs/v5/ws/connect
"""

from connectors.families import bybit
from connectors.families.bybit.second_legacy import ARCHIVE

EXCHANGE = bybit.exchange("bybit", host="bybit.com", checked="2026-09, live probes by others", archives=(ARCHIVE,))
