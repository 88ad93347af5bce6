"""Zaif, spot: the address names the one pair of a connection, and every push is whole.

https://zaif-api-document.readthedocs.io/ja/latest/WebSocketAPI.html
A push holds twenty levels a side and the last trades. The documentation says that pairs of tokens have no stream; in
September 2026 they had one.
"""

from collections.abc import Iterable, Sequence

from msgspec import Raw
from msgspec.json import Decoder

from aggregator.exchange import Event, Exchange, Limits, Listing, Parse, Poll, Request, Stream, Subscription
from aggregator.records import Instrument, Record
from aggregator.refusals import coded
from aggregator.sequence import ordered
from aggregator.wire import as_written, optional
from connectors.zaif.wires import DEPTH, Market, Push, TickerWire

API = "https://api.zaif.jp/api/1"

decode = Decoder(Push, float_hook=as_written).decode
decode_ticker = Decoder(TickerWire, float_hook=as_written).decode
decode_markets = Decoder(list[Raw]).decode
decode_market = Decoder(Market, float_hook=as_written).decode


def address(wanted: Sequence[Subscription]) -> str:
    pair = wanted[0].raw_symbol if wanted else ""
    return f"wss://ws.zaif.jp/stream?currency_pair={pair}"


def parser() -> Parse:
    newest: dict[str, int] = {}

    def parse(frame: bytes) -> Iterable[Event]:
        push = decode(frame)
        pair, last = push.currency_pair, newest.get(push.currency_pair)
        newest[pair] = max((row.tid for row in push.trades), default=last or 0)
        return (push.book(), *push.new(last))

    return parse


def read_ticker(raw_symbol: str, body: bytes) -> Iterable[Record]:
    return decode_ticker(body).records(raw_symbol)


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    base, _, quote = m.name.partition("/")
    return Instrument(
        raw_symbol=m.currency_pair,
        base=base,
        quote=quote,
        tick_size=optional(m.aux_unit_step),
        lot_size=optional(m.item_unit_step),
        min_size=optional(m.item_unit_min),
    )


EXCHANGE = Exchange(
    id="zaif",
    docs="https://zaif-api-document.readthedocs.io/ja/latest/index.html",
    checked="2026-09, live probes by others",
    trouble=coded("error"),
    notes=(
        "A connection carries one pair, because its address names it.",
        "The first push of a connection is the last that there was, and may be hours old.",
        "A pair that there is not is silent: nothing is refused.",
        "The side of a trade is the taker's by its documentation.",
        "Its listing is shorter on some of its servers: suspended pairs are left out there.",
        "Best prices come with the ticker, which is polled, without sizes. It has no candles.",
    ),
    limits=Limits(weights={"https://api.zaif.jp": ((10, 1),)}, connects=(3, 1)),
    listing=Listing((Request(f"{API}/currency_pairs/all"),), decode_markets, read_market),
    feeds=(
        Stream(
            url=address,
            channels={"trades": "trades", "book": "asks, bids"},
            subscribe=lambda _, __: (),
            parser=parser,
            sequence={"trades": ordered},
            depth=DEPTH,
            per_connection=2,
            one_market=True,
            patience=3600,  # a pair may be silent for hours, and a line that is dead shows by its pings
            acknowledges=False,
        ),
        Poll(
            name="ticker",
            channels=("ticker", "bbo"),
            every=60,
            request=lambda s: Request(f"{API}/ticker/{s}"),
            parse=read_ticker,
        ),
    ),
)
