"""Trades of the past, as Advanced Trade answers for them by REST."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Request, Since
from aggregator.records import SECOND_NS, Trade
from connectors.coinbase.wires import TradeRow

API = "https://api.coinbase.com/api/v3/brokerage/market"


class Dealt(Struct):
    trades: list[TradeRow]


decode_dealt = Decoder(Dealt).decode


def missed(raw_symbol: str, since: Since) -> Request:
    return Request(f"{API}/products/{raw_symbol}/ticker?limit=1000&start={since.ts // SECOND_NS}")


def read_missed(_: str, body: bytes) -> Iterable[Trade]:
    return [row.record() for row in reversed(decode_dealt(body).trades)]
