"""Backpack: spot and perpetuals.

https://docs.backpack.exchange
A market that is unknown or closed is met with silence; only a name that is no stream at all is refused.
"""

from collections.abc import Callable, Iterable, Sequence
from urllib.parse import urlencode

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import (
    Backfill,
    Exchange,
    Limits,
    Listing,
    Request,
    Since,
    Snapshot,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import Channel, Instrument, MarketState
from aggregator.refusals import coded
from aggregator.sequence import contiguous, ordered
from aggregator.wire import Text, encode, number, optional
from connectors.backpack.frames import CONTRACTS, DEPTH, MARKET, parse, read_past, read_whole, topic

REST = "https://api.backpack.exchange/api/v1"
STATES: dict[str, MarketState] = {
    "Open": "trading",
    "LimitOnly": "trading",
    "PostOnly": "post_only",
    "CancelOnly": "cancel_only",
    "Closed": "halt",
}


class PriceFilter(Struct, frozen=True):
    tickSize: Text = None


class QuantityFilter(Struct, frozen=True):
    minQuantity: Text = None
    maxQuantity: Text = None
    stepSize: Text = None


class Filters(Struct, frozen=True):
    price: PriceFilter = PriceFilter()
    quantity: QuantityFilter = QuantityFilter()


class MarketWire(Struct):
    symbol: str
    baseSymbol: str
    quoteSymbol: str
    marketType: str
    orderBookState: str = ""
    filters: Filters = Filters()
    fundingInterval: int | None = None  # in milliseconds; spot has one, too


decode_rows = Decoder(list[Raw]).decode
decode_market = Decoder(MarketWire, strict=False, float_hook=number).decode


def read_market(row: Raw) -> Instrument | None:
    """Spot or a perpetual; markets of other kinds are not described well enough to be named."""
    m = decode_market(row)
    if m.marketType not in {"SPOT", "PERP"}:
        return None
    is_spot, quantity = m.marketType == "SPOT", m.filters.quantity
    return Instrument(
        raw_symbol=m.symbol,
        kind="spot" if is_spot else "perpetual",
        base=m.baseSymbol.upper(),  # `kPEPE` is a thousand
        quote=m.quoteSymbol,
        settle=None if is_spot else m.quoteSymbol,
        linear=None if is_spot else True,
        contract_size=None if is_spot else "1",
        tick_size=optional(m.filters.price.tickSize),
        lot_size=optional(quantity.stepSize),
        min_size=optional(quantity.minQuantity),
        max_size=optional(quantity.maxQuantity),
        state=STATES.get(m.orderBookState, "unknown"),
        funding_interval_s=m.fundingInterval // 1000 if m.fundingInterval and not is_spot else None,
    )


def asking(method: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        return (encode({"method": method, "params": list(dict.fromkeys(map(topic, wanted)))}),)

    return ask


def request_book(raw_symbol: str) -> Request:
    return Request(f"{REST}/depth?{urlencode({'symbol': raw_symbol, 'limit': DEPTH})}")


def request_trades(raw_symbol: str, _: Since) -> Request:
    return Request(f"{REST}/trades?{urlencode({'symbol': raw_symbol, 'limit': 1000})}")


def stream(name: str, channels: dict[Channel, str], serves: Callable[[Instrument], bool]) -> Stream:
    has_market = "book" in channels
    return Stream(
        name=name,
        url="wss://ws.backpack.exchange",
        compression="offered",
        channels=channels,
        serves=serves,
        topic=topic,
        subscribe=asking("SUBSCRIBE"),
        unsubscribe=asking("UNSUBSCRIBE"),
        parse=parse,
        snapshot=Snapshot(request=request_book, parse=read_whole) if has_market else None,
        sequence={"book": contiguous, "trades": ordered} if has_market else {},
        backfill=Backfill(request_trades, read_past) if has_market else None,
        patience=150,  # the exchange pings each minute, and a quiet market says nothing
        acknowledges=False,
    )


EXCHANGE = Exchange(
    id="backpack",
    docs="https://docs.backpack.exchange",
    checked="2026-09, live probes by others; 2026-11, copies of its documentation",
    trouble=coded("code", "message", busy=("TOO_MANY_REQUESTS",)),
    limits=Limits(weights={REST: ((5, 1),)}),  # no limit is published; so many were fine
    listing=Listing((Request(f"{REST}/markets"),), decode_rows, read_market, state=("orderBookState",)),
    feeds=(
        stream("main", MARKET, lambda i: i.kind in {"spot", "perpetual"}),
        stream("contracts", CONTRACTS, lambda i: i.kind == "perpetual"),
    ),
    notes=(
        "Funding is told as an estimate for the running interval, an hour on all perpetuals in September 2026.",
        "Of a liquidation the documentation says nothing of the side but its name: it is taken for the order's.",
        "Missed trades are had from the latest thousand.",
        "Predictions, dated and inverse contracts and requests for quotes are left out.",
        "`k` before a name stands for a thousand (`kPEPE`).",
    ),
)
