"""Words that MEXC's protocols share."""

from aggregator.records import Side

INTERVALS = {
    "1m": "Min1",
    "5m": "Min5",
    "15m": "Min15",
    "30m": "Min30",
    "1h": "Min60",
    "4h": "Hour4",
    "8h": "Hour8",
    "1d": "Day1",
    "1w": "Week1",
    "1M": "Month1",
}
OURS = {wire: interval for interval, wire in INTERVALS.items()}
SIDES: dict[int, Side] = {1: "buy", 2: "sell"}  # the taker's
