"""Buda, spot: trades by its stream, whole books and statistics by polling.

https://api.buda.com
The stream is Nchan's: its address names the topics, and nothing is sent there. Its messages of the book are changes of
the amount at a price, without numbers, and 178 seconds of them did not add up to the exchange's own next whole book in
two markets of 26, although none was missed (live probes by others, September 2026): books are asked for instead. Those
whole books, one in three minutes, are read where they come.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Raw

from aggregator.errors import BadFrame
from aggregator.exchange import (
    Backfill,
    Event,
    Exchange,
    Limits,
    Listing,
    Poll,
    Request,
    Since,
    Stream,
    Subscription,
)
from aggregator.records import DAY_S, Instrument, Record, Ticker, Trade
from aggregator.refusals import coded
from aggregator.sequence import ordered
from aggregator.wire import at, bbo, nonzero, optional, seconds, text
from connectors.buda.wires import Amount, decode, decode_book, decode_figures, decode_market, decode_trades, whole

API = "https://www.buda.com/api/v2"


def parse(frame: bytes) -> Iterable[Event]:
    f = decode(frame)
    if f.ev == "book-sync" and f.order_book is not None:
        return (whole(f.mk, f.order_book, seconds(f.ts)),)
    if f.ev != "trade-created":
        return ()
    if f.trade is None or not f.mk:
        raise BadFrame("a frame of a trade without the trade, or without its market")
    return (f.trade.record(f.mk, seconds(f.ts)),)


def address(wanted: Sequence[Subscription]) -> str:
    """Name the topics; `@` has to be written as `%40`, else the connection opens and stays silent."""
    topics = ",".join(f"trades%40{s.raw_symbol.replace('-', '').lower()}" for s in wanted)
    return f"wss://realtime.buda.com/sub?channel={topics}"


def asking(path: str) -> Callable[[str], Request]:
    return lambda raw_symbol: Request(f"{API}/markets/{raw_symbol.lower()}/{path}")


def missed(raw_symbol: str, _: Since) -> Request:
    return asking("trades?limit=100")(raw_symbol)


def read_missed(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    rows = sorted(decode_trades(body).trades.entries, key=lambda row: row.id)
    return [row.record(raw_symbol) for row in rows]


def read_book(raw_symbol: str, body: bytes) -> Iterable[Record]:
    return (whole(raw_symbol, decode_book(body).order_book),)


def read_figures(raw_symbol: str, body: bytes) -> Iterable[Record]:
    t = decode_figures(body).ticker
    statistics = Ticker(
        raw_symbol=raw_symbol,
        last=nonzero(number(t.last_price)),
        base_volume=number(t.volume),
        quote_volume=number(t.quote_volume),
        window_s=DAY_S,
    )
    return statistics, bbo(raw_symbol, number(t.max_bid), None, number(t.min_ask), None)


def number(amount: Amount | None) -> str | None:
    return None if amount is None else optional(amount[0])


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    return Instrument(
        raw_symbol=m.id,
        base=m.base_currency,
        quote=m.quote_currency,
        min_size=None if m.minimum_order_amount is None else text(m.minimum_order_amount[0]),
        state="halt" if m.disabled else "trading",
    )


EXCHANGE = Exchange(
    id="buda",
    docs="https://api.buda.com",
    checked="2026-09, live probes by others",
    trouble=coded("code", "message"),
    notes=(
        "Books are polled, whole: the changes that its stream sends do not add up to them (September 2026).",
        "The side of a trade is what its documentation calls the direction, and is taken for the taker's.",
        "A topic that does not exist is neither confirmed nor refused: it stays silent.",
        "A ticker has no open, highest and lowest price, and a variation in per cent, which is left out.",
        "Best prices come with the ticker, without sizes. Neither they nor books have a time.",
        "Candles come from the address of its charts alone, and are not followed.",
        "The listing has no steps of prices and sizes.",
    ),
    limits=Limits(weights={API: ((120, 60), (20, 1))}),
    listing=Listing((Request(f"{API}/markets"),), at("markets"), read_market),
    feeds=(
        Stream(
            url=address,
            compression="offered",
            channels={"trades": "trades"},
            subscribe=lambda _, __: (),
            parse=parse,
            sequence={"trades": ordered},
            backfill=Backfill(missed, read_missed),
            per_connection=50,
            patience=3600,  # all markets together had one trade in a minute, and the exchange pings by the protocol
            acknowledges=False,
        ),
        Poll(name="book", channels=("book",), every=15, request=asking("order_book"), parse=read_book),
        Poll(name="ticker", channels=("ticker", "bbo"), every=60, request=asking("ticker"), parse=read_figures),
    ),
)
