"""Toobit: spot pairs and perpetual contracts, in the protocol of BHEX (Bluehelix).

https://api-docs.toobit.com
Of a trade `m` says that the taker bought, as ccxt 4.5.90 and Toobit.Net read it: HashKey, of the same protocol, means
the opposite, and so does `ibm` by REST.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct, structs
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Heartbeat, Poll, Request, Stream, Subscribe, Subscription
from aggregator.records import HOUR_S, MS_NS, Channel, Funding, Instrument, Record
from aggregator.refusals import BANNED, coded
from aggregator.wire import encode, ms, symbols_by, text
from connectors.families.bhex.listing import listing
from connectors.toobit.frames import counted, parse

REST = "https://api.toobit.com"
CHANNELS: dict[Channel, str] = {
    "trades": "trade",
    "book": "diffDepth",
    "bbo": "bookTicker",
    "ticker": "realtimes",
    "candles": "kline_",
    "mark_price": "markPrice",
}
INDICES: dict[Channel, str] = {"index_price": "index"}


class RateWire(Struct):
    symbol: str
    rate: str
    nextFundingTime: str
    period: str = ""  # `8H`


decode_rates = Decoder(list[RateWire]).decode


def word(s: Subscription) -> str:
    return CHANNELS[s.channel] + s.interval if s.channel == "candles" else {**CHANNELS, **INDICES}[s.channel]


def is_perpetual(instrument: Instrument) -> bool:
    return instrument.kind == "perpetual"


def asking(event: str) -> Subscribe:
    """One frame for each topic, with all of its symbols: a space between them would have the second one refused."""

    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for topic, symbols in symbols_by(word, wanted).items():
            names = ",".join(dict.fromkeys(symbols))
            yield encode({"symbol": names, "topic": topic, "event": event, "params": {"binary": False}})

    return ask


def ping(now: int) -> bytes:
    return encode({"ping": now // MS_NS})


def read_rates(_: str, body: bytes) -> Iterable[Record]:
    for r in decode_rates(body):
        if r.rate:
            hours = r.period.removesuffix("H")
            interval = int(hours) * HOUR_S if hours.isdecimal() else None
            yield Funding(
                raw_symbol=r.symbol, rate=text(r.rate), interval_s=interval, ts_next=ms(r.nextFundingTime) or None
            )


STREAM = Stream(
    url="wss://stream.toobit.com/quote/ws/v1",
    channels=CHANNELS,
    subscribe=asking("sub"),
    unsubscribe=asking("cancel"),
    parse=parse,
    heartbeat=Heartbeat(every=20, frame=ping),  # it closes after a minute without a word, not after five
    sequence={"book": counted},
    batch=1,  # a refusal names neither topic nor symbol
    pace=0.05,
    patience=45,  # each ping is answered
    acknowledges=False,
)

EXCHANGE = Exchange(
    id="toobit",
    docs="https://api-docs.toobit.com",
    checked="2026-09, live probes by others; 2026-11, ccxt 4.5.90 and Toobit.Net for trades and candles",
    trouble=coded("code", "msg", fine=("0", "200"), busy=("-1003",), until=BANNED),
    listing=listing(REST),
    feeds=(
        STREAM,
        structs.replace(
            STREAM,
            name="indices",
            channels=INDICES,
            serves=is_perpetual,
            named={"index_price": lambda i: i.index},
            topic=lambda s: s.raw_symbol,
            sequence={},
            batch=50,  # their names are those of the list
        ),
        Poll(
            name="funding",
            channels=("funding",),
            every=60,
            request=lambda _: Request(f"{REST}/api/v1/futures/fundingRate"),
            parse=read_rates,
            many=True,
            serves=is_perpetual,
        ),
    ),
    notes=(
        "Sizes of contracts count contracts, of which there may be parts.",
        "The funding rate is that of the running interval; for a minute after its end `ts_next` is still the last one.",
        "An index is named by a word of its own, and told under each contract of it; TON follows the index of GRAM.",
        "A market that is delisted is served an empty book.",
    ),
)
