"""Trades by REST."""

from collections.abc import Iterable

from msgspec.json import Decoder

from aggregator.exchange import Request, Since
from aggregator.records import Trade
from connectors.bitbank.wires import Data, Transactions

API = "https://public.bitbank.cc"

decode_recent = Decoder(Data[Transactions], strict=False).decode


def missed(raw_symbol: str, _: Since) -> Request:
    return Request(f"{API}/{raw_symbol}/transactions")  # the latest 60


def read_missed(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    return decode_recent(body).data.records(raw_symbol)
