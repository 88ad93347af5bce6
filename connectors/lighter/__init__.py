"""Lighter: perpetuals and spot on a rollup of its own.

https://apidocs.lighter.xyz
An update of a book names the number that it follows (`begin_nonce`); `offset` has had holes since December 2025.
https://apidocs.lighter.xyz/reference/orderbookdetails
Where a market is `active` and its settings say `force_reduce_only`, positions can be closed there, and none opened.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Request, Stream, Subscribe, Subscription
from aggregator.records import HOUR_S, Channel, Instrument, MarketState
from aggregator.refusals import coded
from aggregator.sequence import linked
from aggregator.wire import Text, encode, number, optional, step
from connectors.lighter.frames import CONTRACTS, PONG, SPOT, parse, topic_of

REST = "https://mainnet.zklighter.elliot.ai/api/v1"
STATES: dict[str, MarketState] = {"active": "trading", "inactive": "halt"}


class Settings(Struct, frozen=True):
    force_reduce_only: bool = False


class MarketWire(Struct):
    symbol: str  # `ETH` is a perpetual, `ETH/USDC` is spot
    market_id: int
    market_type: Literal["perp", "spot"] = "perp"
    status: str = ""
    size_decimals: Text = None
    price_decimals: Text = None
    min_base_amount: Text = None
    min_quote_amount: Text = None
    market_config: Settings | None = None  # perpetuals have it


class Answer(Struct):
    order_book_details: list[Raw] = []
    spot_order_book_details: list[Raw] = []


decode_answer = Decoder(Answer).decode
decode_market = Decoder(MarketWire, strict=False, float_hook=number).decode


def rows(body: bytes) -> Iterable[Raw]:
    answer = decode_answer(body)
    return answer.order_book_details + answer.spot_order_book_details


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    base, _, quote = m.symbol.partition("/")
    is_spot, is_closing = m.market_type == "spot", m.market_config is not None and m.market_config.force_reduce_only
    state = STATES.get(m.status, "unknown")
    return Instrument(
        raw_symbol=str(m.market_id),
        kind="spot" if is_spot else "perpetual",
        base=base,
        quote=quote or "USDC",
        settle=None if is_spot else "USDC",
        linear=None if is_spot else True,
        contract_size=None if is_spot else "1",
        tick_size=step(m.price_decimals),
        lot_size=step(m.size_decimals),
        min_size=optional(m.min_base_amount),
        min_notional=optional(m.min_quote_amount),
        state="reduce_only" if state == "trading" and is_closing else state,
        funding_interval_s=None if is_spot else HOUR_S,
        funding_offset_s=None if is_spot else 0,
    )


def asking(kind: str, topic: Callable[[Subscription], str]) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for name in dict.fromkeys(map(topic, wanted)):
            yield encode({"type": kind, "channel": name.replace(":", "/")})

    return ask


def stream(name: str, channels: dict[Channel, str], serves: Callable[[Instrument], bool]) -> Stream:
    topic = topic_of(channels)
    return Stream(
        name=name,
        url="wss://mainnet.zklighter.elliot.ai/stream",
        channels=channels,
        serves=serves,
        topic=topic,
        subscribe=asking("subscribe", topic),
        unsubscribe=asking("unsubscribe", topic),
        parse=parse,
        sequence={"book": linked},
        heartbeat=Heartbeat(every=60, frame=PONG),  # the exchange wants any frame within two minutes
        per_connection=500,
        batch=25,
        pace=0.35,
        patience=150,
    )


EXCHANGE = Exchange(
    id="lighter",
    docs="https://apidocs.lighter.xyz/docs/websocket-reference",
    checked="2026-09, its documentation and another's client, as others read them; 2026-11, ccxt 4.5.90",
    trouble=coded("code", "message", fine=("200",), busy=("23000", "23001", "23002", "23003")),
    limits=Limits(weights={REST: ((60, 60),)}, connections=255, requests=(200, 60)),
    listing=Listing((Request(f"{REST}/orderBookDetails"),), rows, read_market),
    feeds=(
        stream("main", CONTRACTS, lambda i: i.kind == "perpetual"),
        stream("spot", SPOT, lambda i: i.kind == "spot"),
    ),
    notes=(
        "A raw symbol is the number of a market; its name is only in the listing.",
        "`ts_event` of a book is the time of its newest change. Of the figures of a market only `ts_sent` is known.",
        "Funding is exchanged each hour. Rates come in per cent of an hour, and are published as fractions.",
        "Open interest is in US dollars (`size_unit` is `quote`).",
        "Liquidations are trades whose taker was liquidated; deleveraged ones are told without a side.",
    ),
)
