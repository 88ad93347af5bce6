"""Books and best prices of XT by REST.

https://doc.xt.com/docs/spot/Market/GetDepthData
https://doc.xt.com/docs/futures/WebsocKetV2/OrderbookManage
The path of a contract's book is that of the page on keeping one; another page names one that does not answer.
"""

from collections.abc import Iterable
from urllib.parse import quote

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Request
from aggregator.records import MS_NS, BookSnapshot, Record
from aggregator.wire import Text, bbo, levels, number, text
from connectors.xt.listing import INVERSE, LINEAR, SPOT

LEVELS = 500


class SpotBook(Struct):
    lastUpdateId: int
    bids: list[list[Text]]
    asks: list[list[Text]]
    timestamp: int | None = None


class SpotAnswer(Struct):
    result: SpotBook


class ContractBook(Struct):
    u: Text
    a: list[list[Text]]
    b: list[list[Text]]
    t: int | None = None


class ContractAnswer(Struct):
    result: ContractBook


class BestRow(Struct):
    s: str
    t: int | None = None
    ap: str | None = None
    aq: str | None = None
    bp: str | None = None
    bq: str | None = None


class Bests(Struct):
    result: list[BestRow]


decode_spot_book = Decoder(SpotAnswer, float_hook=number).decode
decode_contract_book = Decoder(ContractAnswer, float_hook=number).decode
decode_bests = Decoder(Bests, float_hook=number).decode


def api_of(raw_symbol: str) -> str:
    """The address that knows a contract: those quoted in US dollars settle in their base asset."""
    return INVERSE if "usd" in raw_symbol.split("_")[1:2] else LINEAR


def ask_spot_book(raw_symbol: str) -> Request:
    return Request(f"{SPOT}/depth?symbol={quote(raw_symbol)}&limit={LEVELS}")


def read_spot_book(raw_symbol: str, body: bytes) -> BookSnapshot:
    book = decode_spot_book(body).result
    sent = None if book.timestamp is None else book.timestamp * MS_NS
    return BookSnapshot(
        raw_symbol=raw_symbol, bids=levels(book.bids), asks=levels(book.asks), sequence=book.lastUpdateId, ts_sent=sent
    )


def ask_contract_book(raw_symbol: str) -> Request:
    return Request(f"{api_of(raw_symbol)}/v1/public/q/depth?symbol={quote(raw_symbol)}&level={LEVELS}")


def read_contract_book(raw_symbol: str, body: bytes) -> BookSnapshot:
    book = decode_contract_book(body).result
    sent = None if book.t is None else book.t * MS_NS
    return BookSnapshot(
        raw_symbol=raw_symbol, bids=levels(book.b), asks=levels(book.a), sequence=int(text(book.u)), ts_sent=sent
    )


def read_bests(_: str, body: bytes) -> Iterable[Record]:
    return [
        bbo(row.s, row.bp, row.bq, row.ap, row.aq, ts_sent=None if row.t is None else row.t * MS_NS)
        for row in decode_bests(body).result
    ]
