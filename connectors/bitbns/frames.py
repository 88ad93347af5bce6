"""The reading of a market's stream: every list is whole, and a book comes in two of them."""

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

from msgspec import Raw

from aggregator.exchange import Event, Ignored, Parse
from aggregator.records import BookSnapshot, Levels, Trade
from aggregator.wire import oldest_first, past
from connectors.bitbns.wires import TradeRow, decode_levels, decode_list, decode_of_coin, decode_trades, inner
from connectors.families.socketio import packets

ALL = "ALL"  # the only topic: every coin of the market
EMPTY = {b"", b"null"}
SIDES = {"buyList": "bids", "sellList": "asks"}


def parser_of(quote: str) -> Parse:
    """A parser of the stream of one market, whose messages name the coin alone."""
    books: dict[str, dict[str, Levels]] = {}
    trades: dict[str, Counter[TradeRow]] = {}

    def read(name: str, payload: Raw) -> Iterable[Event]:
        said = inner(payload)
        if name != "news" or said in EMPTY:
            return ()
        if b'"coin"' not in said:
            return (Ignored(f"a message of {quote} that names no coin"),)
        of = decode_of_coin(said)
        content = inner(of.data)
        return () if content in EMPTY else read_list(f"{of.coin}/{quote}", content)

    def read_list(symbol: str, content: bytes) -> Iterable[Event]:
        said = decode_list(content)
        rows = inner(said.data)
        if said.type == "tradeList":
            return new_trades(symbol, decode_trades(rows))
        side = SIDES.get(said.type)
        if side is None:
            return ()
        book = books.setdefault(symbol, {})
        book[side] = [row.level(symbol) for row in decode_levels(rows)]
        return whole(symbol, book)

    def new_trades(symbol: str, rows: list[TradeRow]) -> list[Trade]:
        """The trades that the list before did not hold; all of the first one are from before the subscription."""
        before, trades[symbol] = trades.get(symbol), Counter(rows)
        if before is None:
            return past(in_order(symbol, rows))
        return in_order(symbol, (trades[symbol] - before).elements())

    return packets(read, topic=ALL)


def whole(symbol: str, book: dict[str, Levels]) -> Iterable[BookSnapshot]:
    """The book, once both sides are known and fit each other: until the second of two lists has come they may cross."""
    bids, asks = book.get("bids"), book.get("asks")
    if bids is None or asks is None or (bids and asks and Decimal(bids[0][0]) >= Decimal(asks[0][0])):
        return ()
    return (BookSnapshot(raw_symbol=symbol, bids=bids, asks=asks, reason="periodic"),)


def in_order(symbol: str, rows: Iterable[TradeRow]) -> list[Trade]:
    return oldest_first(row.record(symbol) for row in rows)
