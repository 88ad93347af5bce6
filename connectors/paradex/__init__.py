"""Paradex: perpetuals, options and spot on a rollup of its own.

https://docs.paradex.trade
Data is binary since 21 September 2026, and a socket that does not ask for it is refused (older copies of the
documentation call it optional); requests and their answers are JSON.
"""

from collections.abc import Iterable, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import (
    Accepted,
    Event,
    Exchange,
    Limits,
    Listing,
    Older,
    Refused,
    Request,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import HOUR_S, Channel, Instrument, Kind
from aggregator.refusals import coded, meaning_of
from aggregator.wire import Text, at, encode, ms, number, optional
from connectors.paradex.frames import read_binary
from connectors.paradex.legacy import read_data

REST = "https://api.prod.paradex.trade/v1"
KINDS: dict[str, Kind] = {"PERP": "perpetual", "PERP_OPTION": "option", "OPTION": "option", "SPOT": "spot"}
SPOT: dict[Channel, str] = {
    "trades": "trades.{}",
    "book": "order_book.{}.snapshot@15@50ms",
    "bbo": "bbo.{}",
    "ticker": "markets_summary.{}",
}
PERPETUALS: dict[Channel, str] = {
    **SPOT,
    "liquidations": "trades.{}",
    "funding": "markets_summary.{}",  # `funding_data` has the rate cut to eight decimals
    "open_interest": "markets_summary.{}",
    "mark_price": "markets_summary.{}",
    "index_price": "markets_summary.{}",
}
OPTIONS: dict[Channel, str] = {**PERPETUALS, "options": "markets_summary.{}"}


class Told(Struct):
    channel: str = ""
    data: Raw = Raw(b"null")


class Fault(Struct):
    code: int
    message: str = ""
    data: str | None = None


class Answer(Struct):
    """A text frame: an answer to a request, or data of before September 2026."""

    jsonrpc: str
    id: int | None = None
    result: Told | None = None
    error: Fault | None = None
    params: Told | None = None


decode_answer = Decoder(Answer).decode


def parse(frame: bytes) -> Iterable[Event]:
    if frame[:1] != b"{":
        return read_binary(frame)
    said = decode_answer(frame)
    if said.params is not None:
        return read_data(said.params.channel, said.params.data)
    if said.id is None or said.id < 0:  # the answer to leaving a topic, which counts down
        return ()
    if said.error is not None:
        reason = f"{said.error.code}: {said.error.message}: {said.error.data or ''}".removesuffix(": ")
        meaning = meaning_of(reason, final=("invalid channel",), passing=("rate limit", "too many"))
        return (Refused(reason, id=said.id, meaning=meaning),)
    return (Accepted(topic=said.result.channel),) if said.result is not None and said.result.channel else ()


def topic(s: Subscription) -> str:
    return OPTIONS[s.channel].format(s.raw_symbol)


def asking(method: str, sign: int) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for channel in dict.fromkeys(map(topic, wanted)):
            yield encode({"jsonrpc": "2.0", "method": method, "params": {"channel": channel}, "id": sign * id})

    return ask


class MarketWire(Struct):
    symbol: str
    base_currency: str
    quote_currency: str
    settlement_currency: str = ""
    asset_kind: str = "PERP"
    order_size_increment: Text = None
    price_tick_size: Text = None
    min_notional: Text = None
    max_order_size: Text = None
    open_at: Text = None
    expiry_at: Text = None
    strike_price: Text = None
    option_type: str = ""
    funding_period_hours: Text = None


decode_market = Decoder(MarketWire, float_hook=number).decode


def read_market(row: Raw) -> Instrument | None:
    """A market; an option that is perpetual has no expiry, and so no unified name."""
    m = decode_market(row)
    kind = KINDS.get(m.asset_kind)
    if kind is None:
        return None
    is_spot, hours = kind == "spot", int(m.funding_period_hours or 0)
    return Instrument(
        raw_symbol=m.symbol,
        kind=kind,
        base=m.base_currency.upper(),  # `kBONK` is a thousand
        quote=m.quote_currency,
        settle=None if is_spot else m.settlement_currency,
        linear=None if is_spot else True,
        contract_size=None if is_spot else "1",
        tick_size=optional(m.price_tick_size),
        lot_size=optional(m.order_size_increment),
        max_size=optional(m.max_order_size),
        min_notional=optional(m.min_notional),
        expiry=(ms(m.expiry_at or 0) or None) if kind == "option" else None,
        strike=optional(m.strike_price) if kind == "option" else None,
        option_type={"CALL": "call", "PUT": "put"}.get(m.option_type) if kind == "option" else None,  # type: ignore[arg-type]
        ts_listed=ms(m.open_at or 0) or None,
        funding_interval_s=hours * HOUR_S or None,
    )


def stream(name: str, channels: dict[Channel, str], kind: Kind) -> Stream:
    return Stream(
        name=name,
        url="wss://ws.api.prod.paradex.trade/v1?sbeSchemaId=1&sbeSchemaVersion=2",
        channels=channels,
        serves=lambda instrument: instrument.kind == kind,
        topic=topic,
        subscribe=asking("subscribe", 1),
        unsubscribe=asking("unsubscribe", -1),
        parse=parse,
        periodic_joins=True,  # such a book came first where changes were asked for
        batch=1,  # a refusal names the request alone
        patience=120,
    )


EXCHANGE = Exchange(
    id="paradex",
    older=(
        Older(
            channels=("trades", "book", "bbo", "ticker", "funding", "open_interest", "liquidations"), until="2026-09-21"
        ),
    ),
    docs="https://docs.paradex.trade",
    checked="2026-09, schema 1:2 and its documentation; 2026-11, ccxt 4.5.90",
    trouble=coded("error", "message"),
    limits=Limits(connects=(20, 1)),
    listing=Listing((Request(f"{REST}/markets"),), at("results"), read_market),
    feeds=(
        stream("main", PERPETUALS, "perpetual"),
        stream("options", OPTIONS, "option"),
        stream("spot", SPOT, "spot"),
    ),
    notes=(
        "A book is whole each time: fifteen levels a side, twenty times a second at most.",
        "Numbers are binary, and told in the fewest digits.",
        "Funding is paid all the time: the rate is of the market's own interval, which the listing names.",
        "A liquidation is a trade so marked; nothing says which side was forced.",
        "Transfers of positions and settlements are told as trades, as the exchange does.",
        "Candles are had by REST alone, for a time that is named: they are left out. Perpetual options have no expiry.",
    ),
)
