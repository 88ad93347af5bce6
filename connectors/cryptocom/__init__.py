"""Crypto.com Exchange: spot, perpetuals and dated futures, all in US dollars but spot.

https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html
A second's wait after connecting is recommended, as requests are counted by the second of the clock.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Exchange, Limits, Listing, Request, Stream, Subscribe, Subscription
from aggregator.records import MS_NS, Channel, Instrument, Kind
from aggregator.refusals import coded
from aggregator.sequence import linked
from aggregator.wire import Text, encode, number, optional
from connectors.cryptocom.frames import CONTRACTS, ESTIMATE, MARKET, PERPETUALS, parse
from connectors.cryptocom.wires import OURS

API = "https://api.crypto.com/exchange/v1"
DEPTH = 50
CHANGES_EVERY_MS = 10  # ms between changes of a book; 100 is the other choice
INTERVALS = {ours: wire for wire, ours in OURS.items()}
KINDS: dict[str, Kind] = {
    "CCY_PAIR": "spot",
    "PERPETUAL_SWAP": "perpetual",
    "FUTURE": "future",
    "WARRANT": "option",
}
OPTION_TYPES: dict[str, Literal["call", "put"]] = {"CALL": "call", "PUT": "put"}


def topics(s: Subscription, wire: str) -> Iterable[str]:
    """The exchange's names of a topic; funding has two."""
    name = s.raw_symbol
    if s.channel == "book":
        return (f"{wire}.{name}.{DEPTH}",)
    if s.channel == "candles":
        return (f"{wire}.{INTERVALS.get(s.interval, s.interval)}.{name}",)
    return (f"{wire}.{name}", f"{ESTIMATE}.{name}") if s.channel == "funding" else (f"{wire}.{name}",)


def asking(method: str, channels: dict[Channel, str]) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        names = dict.fromkeys(name for s in wanted for name in topics(s, channels[s.channel]))
        params = {
            "channels": list(names),
            "book_subscription_type": "SNAPSHOT_AND_UPDATE",
            "book_update_frequency": CHANGES_EVERY_MS,
        }
        yield encode({"id": id, "method": method, "params": params})  # a nonce is documented, and not needed

    return ask


class InstrumentWire(Struct):
    symbol: str
    inst_type: str
    base_ccy: str
    quote_ccy: str
    tradable: bool = True
    price_tick_size: Text = None
    qty_tick_size: Text = None
    contract_size: Text = None
    expiry_timestamp_ms: int = 0
    strike: Text = None
    put_call: str = ""
    underlying_symbol: str = ""  # the index of a contract: `BTCUSD-INDEX`


class Listed(Struct):
    data: list[Raw]


class Answer(Struct):
    result: Listed | None = None
    code: int = 0
    message: str = ""


decode_answer = Decoder(Answer).decode
decode_instrument = Decoder(InstrumentWire, strict=False, float_hook=number).decode


def rows(body: bytes) -> Iterable[Raw]:
    answer = decode_answer(body)
    if answer.result is None:
        raise BadFrame(f"the listing was refused: {answer.code}: {answer.message}")
    return answer.result.data


def read_instrument(row: Raw) -> Instrument | None:
    i = decode_instrument(row)
    kind = KINDS.get(i.inst_type)
    if kind is None:
        return None
    is_spot, is_dated = kind == "spot", kind in {"future", "option"}
    return Instrument(
        raw_symbol=i.symbol,
        kind=kind,
        base=i.base_ccy,
        quote=i.quote_ccy,
        settle=None if is_spot else i.quote_ccy,
        linear=None if is_spot else True,
        contract_size=None if is_spot else optional(i.contract_size),
        tick_size=optional(i.price_tick_size),
        lot_size=optional(i.qty_tick_size),
        expiry=i.expiry_timestamp_ms * MS_NS if is_dated else None,
        strike=optional(i.strike),
        option_type=OPTION_TYPES.get(i.put_call),
        state="trading" if i.tradable else "halt",
        index=i.underlying_symbol or None,
    )


def stream(name: str, channels: dict[Channel, str], kinds: tuple[Kind, ...]) -> Stream:
    has_book = "book" in channels
    return Stream(
        name=name,
        url="wss://stream.crypto.com/exchange/v1/market",
        channels=channels,
        serves=lambda instrument: instrument.kind in kinds,
        named={"index_price": lambda instrument: instrument.index} if "index_price" in channels else {},
        subscribe=asking("subscribe", channels),
        unsubscribe=asking("unsubscribe", channels),
        parse=parse,
        sequence={"book": linked} if has_book else {},
        depth=DEPTH if has_book else None,
        per_connection=200,  # 400 of the exchange's, of which funding takes two
        batch=50,
        pace=0.25,
        patience=70,  # the exchange wants a sign of life every 30 seconds
    )


EXCHANGE = Exchange(
    id="cryptocom",
    checked="2026-09, live probes by others",
    docs="https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html",
    trouble=coded("code", "message", fine=("0",), busy=("42901",)),
    limits=Limits(weights={API: ((100, 1),)}),
    listing=Listing((Request(f"{API}/public/get-instruments"),), rows, read_instrument),
    feeds=(
        stream("main", MARKET, tuple(KINDS.values())),
        stream("contracts", CONTRACTS, ("perpetual", "future")),
        stream("perpetuals", PERPETUALS, ("perpetual",)),
    ),
    notes=(
        "A book is of 50 levels a side; of its checksum (`cs`) the algorithm is not published.",
        "The best prices come with the ticker.",
        "Statistics value their volume in US dollars: `quote_volume` is told where these are the quote asset.",
        "An index is told under its perpetual; dated contracts have none here.",
        "Funding is exchanged each hour; the predicted rate is that of each hour of the next four.",
    ),
)
