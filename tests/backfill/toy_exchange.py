"""An exchange with a past: a market's trades, numbered and by time, answered as Binance answers by REST."""

import json
import random
from collections.abc import Mapping, Sequence

from aggregator.records import MS_NS, SECOND_NS, Instrument

START = 1_700_000_000_000 // 86_400_000 * 86_400_000 * MS_NS + 86_000 * SECOND_NS  # 400 s before a midnight
END = START + 1200 * SECOND_NS
INSTRUMENT = Instrument(
    raw_symbol="BTCUSDT", symbol="BTC/USDT", exchange="binance", kind="spot", base="BTC", quote="USDT"
)
MONDAY, WEEK = 4 * 86_400_000, 7 * 86_400_000  # a week begins on a Monday, as Binance's do; ms
REST = "https://api.binance.com/api/v3"
INFO = {
    "symbols": [
        {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": []},
        {"symbol": "ETHUSDT", "status": "TRADING", "baseAsset": "ETH", "quoteAsset": "USDT", "filters": []},
    ]
}


class Toy:
    """Trades around the range, several of one millisecond, and a candle of each minute."""

    def __init__(self, count: int = 900, most: int = 200) -> None:
        """Make the market, always the same; an answer has so many rows at most."""
        self.most = most
        chance = random.Random(19)
        span = (END - START) // MS_NS
        times = sorted(chance.randrange(-span // 10, span + span // 10) for _ in range(count))
        for at in range(0, count - 10, 40):
            times[at : at + 8] = [times[at]] * 8
        self.trades = [
            {
                "id": number,
                "price": f"{42000 + chance.randrange(100)}.{chance.randrange(100):02}000000",
                "qty": f"0.{chance.randrange(1, 10**8):08}",
                "quoteQty": "1.0",
                "time": START // MS_NS + time,
                "isBuyerMaker": chance.random() < 0.5,
                "isBestMatch": True,
            }
            for number, time in enumerate(sorted(times), 5000)
        ]

    def ids(self, start: int = START, end: int = END) -> list[str]:
        """The ids of the trades of a range."""
        return [str(t["id"]) for t in self.trades if start <= int(str(t["time"])) * MS_NS < end]

    def answer(self, path: str, query: Mapping[str, str]) -> bytes:
        """The body of a good answer."""
        if path.endswith("/exchangeInfo"):
            return json.dumps(INFO).encode()
        limit = min(self.most, int(query["limit"]))
        if path.endswith(("/historicalTrades", "/trades")):
            first = query.get("fromId")
            found = self.trades[-limit:] if first is None else self._from(int(first))[:limit]
            return json.dumps(found).encode()
        start, end = int(query["startTime"]), int(query["endTime"])
        if query["interval"] == "1w":
            begins = range(-(-(start - MONDAY) // WEEK) * WEEK + MONDAY, end + 1, WEEK)
            return json.dumps([_bar(at, WEEK) for at in begins][:limit]).encode()
        minutes = range(-(-start // 60_000) * 60_000, end + 1, 60_000)
        return json.dumps([_bar(at) for at in minutes][:limit]).encode()

    def _from(self, first: int) -> Sequence[Mapping[str, object]]:
        return [t for t in self.trades if int(str(t["id"])) >= first]


def _bar(at: int, length: int = 60_000) -> list[object]:
    return [at, "1.10", "2", "1", "1.5", "10.25", at + length - 1, "15", 7, "5", "7", "0"]
