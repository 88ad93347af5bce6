"""Independent Reserve, spot.

https://www.independentreserve.com/features/api documents a socket of single orders and trades, which cut every
connection within 4 ms in September 2026 (live probes by others); its trades are read in captures of before. Its orders
are not: what changes or ends one names neither its price nor its pair, and no whole book with a number precedes. One
trade has one price in each currency (https://github.com/independentreserve/websockets, orderbook-ticker.md); in 2023 it
had one, of the pair that it named, not always its channel's. The socket of whole levels, which works, stands in no
documentation: https://github.com/ccxt/ccxt reads it, and the probes have measured it. Trades come by REST.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from zlib import crc32

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.book import OrderBook
from aggregator.exchange import (
    Accepted,
    Event,
    Exchange,
    Limits,
    Listing,
    Poll,
    Refused,
    Request,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import DAY_S, BookDelta, BookSnapshot, Channel, Instrument, Levels, Record, Side, Ticker, Trade
from aggregator.refusals import coded, named_in
from aggregator.wire import Text, bbo, encode, from_iso, ms, nonzero, number, oldest_first, optional, text

API = "https://api.independentreserve.com/Public"
DEPTH = 50
CHECKED = 10  # levels a side
PLACES = 8  # decimals of a number in a checksum
QUOTES = ("Aud", "Usd", "Nzd", "Sgd")  # GetValidSecondaryCurrencyCodes gave these, 2026-09; all pairs exist
CHANNELS: dict[Channel, str] = {"book": f"orderbook/{DEPTH}"}
DEALS: dict[Channel, str] = {"trades": "ticker"}
CUT_OFF = "2026-09-01"
SIDES: dict[str, Side] = {"Bid": "buy", "Buy": "buy", "Offer": "sell", "Sell": "sell"}
PAIR = re.compile(r"parameter value: '([^']+)'")


class Level(Struct, gc=False):
    Price: Text
    Volume: Text  # the new one; 0 removes


class Sides(Struct, gc=False):
    Bids: list[Level] = []
    Offers: list[Level] = []
    Crc32: int | None = None


class BookWire(Struct, gc=False):
    Channel: str
    Data: Sides
    Time: int

    def event(self, kind: type[BookSnapshot | BookDelta]) -> Event:
        return kind(
            raw_symbol=pair_of(self.Channel),
            bids=side(self.Data.Bids),
            asks=side(self.Data.Offers),
            checksum=self.Data.Crc32,
            ts_sent=ms(self.Time),
        )


class Deal(Struct):
    TradeGuid: str
    TradeDate: str
    Volume: Text
    Price: Text | dict[str, Text]
    Pair: str = ""
    Side: str = ""  # the taker's


class DealWire(Struct):
    Channel: str  # `ticker-xbt`, or `ticker-xbt-aud`
    Data: Deal
    Time: int
    Nonce: int | None = None

    def records(self) -> Iterable[Record]:
        deal = self.Data
        base, _, quote = (deal.Pair or self.Channel.partition("-")[2]).partition("-")
        for currency, price in deal.Price.items() if isinstance(deal.Price, dict) else ((quote, deal.Price),):
            yield Trade(
                raw_symbol=spelled(base, currency),
                id=deal.TradeGuid,
                price=text(price),
                size=text(deal.Volume),
                side=SIDES.get(deal.Side),
                sequence=self.Nonce,
                ts_event=from_iso(deal.TradeDate),
                ts_sent=ms(self.Time),
            )


class AnswerWire(Struct):
    Data: list[str] = []  # all that stand, `orderbook/50/btc/aud`


class ErrorWire(Struct):
    Data: str = ""


class Kind(Struct):
    Event: str = ""


decode_kind = Decoder(Kind).decode
decode_book = Decoder(BookWire, float_hook=number).decode
decode_deal = Decoder(DealWire, float_hook=number).decode
decode_answer = Decoder(AnswerWire).decode
decode_error = Decoder(ErrorWire).decode


def side(rows: list[Level]) -> Levels:
    return [(text(row.Price), text(row.Volume)) for row in rows]


@lru_cache(maxsize=2**10)
def pair_of(channel: str) -> str:
    """`orderbook/50/btc/aud` is `Xbt-Aud`: its listing spells the codes so, and it asks for no other spelling."""
    return spelled(*channel.split("/")[2:])


def spelled(*codes: str) -> str:
    return "-".join("Xbt" if code == "btc" else code.capitalize() for code in codes)


def parse(frame: bytes) -> Iterable[Event]:
    kind = decode_kind(frame).Event
    if kind == "OrderBookChange":
        return (decode_book(frame).event(BookDelta),)
    if kind == "OrderBookSnapshot":
        return (decode_book(frame).event(BookSnapshot),)
    if kind == "Trade":
        return decode_deal(frame).records()
    if kind == "Subscriptions":
        return [Accepted(channel="book", raw_symbol=pair_of(channel)) for channel in decode_answer(frame).Data]
    return (refused(decode_error(frame).Data),) if kind == "Error" else ()


def refused(reason: str) -> Refused:
    """A refusal names the pair, or the code alone; it is of all pairs of its request."""
    pair = named_in(reason, PAIR)
    if pair is None:
        return Refused(reason, meaning="final")
    return Refused(reason, channel="book", raw_symbol=pair[1].title(), meaning="final", whole=True)


def asking(event: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        yield encode({"Event": event, "Data": [s.raw_symbol for s in wanted]})

    return ask


def asking_deals(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
    yield encode({"Event": "Subscribe", "Data": [f"{DEALS[s.channel]}-{s.raw_symbol.lower()}" for s in wanted]})


def checksum(book: OrderBook, _: Instrument | None) -> int:
    """CRC32, unsigned, of the ten best bids, then offers, with eight decimals each.

    It fitted all of 27,000 changes but one (2026-09, by others), which a thin pair's whole book had. ccxt compares it
    with a signed number, and so finds half of them wrong.
    """
    bids, asks = book.spelled(CHECKED, level, level)
    return crc32("".join(bids + asks).encode())


def level(price: str, size: str) -> str:
    return whole(price) + whole(size)


def whole(digits: str) -> str:
    units, _, rest = digits.partition(".")
    return (units + rest[:PLACES].ljust(PLACES, "0")).lstrip("0")


class TradeRow(Struct):
    PrimaryCurrencyAmount: Text
    SecondaryCurrencyTradePrice: Text
    TradeTimestampUtc: str
    TradeGuid: str | None = None
    Taker: str | None = None


class Trades(Struct):
    Trades: list[TradeRow]


class Summary(Struct):
    CreatedTimestampUtc: str
    DayHighestPrice: Text = None
    DayLowestPrice: Text = None
    DayVolumeXbtInSecondaryCurrrency: Text = None  # a volume of the base asset, traded in this quote
    CurrentLowestOfferPrice: Text = None
    CurrentHighestBidPrice: Text = None
    LastPrice: Text = None


decode_trades = Decoder(Trades, float_hook=number).decode
decode_summary = Decoder(Summary, float_hook=number).decode
decode_codes = Decoder(list[str]).decode
decode_pair = Decoder(str).decode


def about(what: str, more: str = "") -> Callable[[str], Request]:
    def request(raw_symbol: str) -> Request:
        base, _, quote = raw_symbol.partition("-")
        return Request(f"{API}/{what}?primaryCurrencyCode={base}&secondaryCurrencyCode={quote}{more}")

    return request


def read_trades(raw_symbol: str, body: bytes) -> Iterable[Record]:
    return oldest_first(
        Trade(
            raw_symbol=raw_symbol,
            id=row.TradeGuid,
            price=text(row.SecondaryCurrencyTradePrice),
            size=text(row.PrimaryCurrencyAmount),
            side=SIDES.get(row.Taker or ""),
            ts_event=from_iso(row.TradeTimestampUtc),
        )
        for row in decode_trades(body).Trades
    )


def read_summary(raw_symbol: str, body: bytes) -> Iterable[Record]:
    s = decode_summary(body)
    when = from_iso(s.CreatedTimestampUtc)
    yield bbo(raw_symbol, s.CurrentHighestBidPrice, None, s.CurrentLowestOfferPrice, None, ts_sent=when)
    yield Ticker(
        raw_symbol=raw_symbol,
        last=nonzero(s.LastPrice),
        high=nonzero(s.DayHighestPrice),
        low=nonzero(s.DayLowestPrice),
        base_volume=optional(s.DayVolumeXbtInSecondaryCurrrency),
        window_s=DAY_S,
        ts_sent=when,
    )


def pairs(body: bytes) -> Iterable[Raw]:
    return [Raw(encode(f"{base}-{quote}")) for base in decode_codes(body) for quote in QUOTES]


def read_pair(row: Raw) -> Instrument:
    name = decode_pair(row)
    base, _, quote = name.upper().partition("-")
    return Instrument(raw_symbol=name, base=base, quote=quote)


EXCHANGE = Exchange(
    id="independentreserve",
    docs="https://www.independentreserve.com/features/api",
    trouble=coded("ErrorCode", "Message"),
    checked="2026-09, live probes by others; of trades its documentation and ccxt 4.5.90",
    notes=(
        "Books are crossed at times, as the exchange sends them: old offers stand below the best bid for minutes.",
        "A change of a book has no number: its checksum alone shows that one before it is missing.",
        "Each coin is one pool of orders, told in four currencies at the exchange's own rate.",
        "Trades and tickers are asked for, as its socket of trades is cut off; best prices come without sizes.",
        "The listing says neither states nor steps; it has every coin in every currency.",
    ),
    limits=Limits(weights={API: ((1, 1),)}),  # none is published; so much has run clean
    listing=Listing((Request(f"{API}/GetValidPrimaryCurrencyCodes"),), pairs, read_pair),
    feeds=(
        Stream(
            url=f"wss://websockets.independentreserve.com/orderbook/{DEPTH}",
            channels=CHANNELS,
            subscribe=asking("Subscribe"),
            unsubscribe=asking("Unsubscribe"),
            parse=parse,
            checksum=checksum,
            depth=DEPTH,
            crosses=True,
            per_connection=42,  # all coins in one currency ran clean; with four times as many, changes were lost
            patience=30,  # it beats after each idle second
        ),
        Stream(
            name="deals",
            url="wss://websockets.independentreserve.com",
            until=CUT_OFF,
            channels=DEALS,
            subscribe=asking_deals,
            parse=parse,
            per_connection=42,
            patience=30,
        ),
        Poll(
            name="trades",
            channels=("trades",),
            every=60,
            request=about("GetRecentTrades", "&numberOfRecentTradesToRetrieve=50"),
            parse=read_trades,
        ),
        Poll(
            name="summary",
            channels=("ticker", "bbo"),
            every=60,
            request=about("GetMarketSummary"),
            parse=read_summary,
        ),
    ),
)
