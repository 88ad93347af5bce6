"""Toobit: spot pairs and perpetual contracts, in the protocol of BHEX (Bluehelix).

https://api-docs.toobit.com
Of a trade `m` says that the taker bought, as ccxt 4.5.90 and Toobit.Net read it: HashKey, of the same protocol, means
the opposite, and so does `ibm` by REST.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Heartbeat, Poll, Request, Stream, Subscribe, Subscription
from aggregator.records import HOUR_S, MS_NS, Channel, Funding, Record
from aggregator.refusals import coded
from aggregator.wire import encode, ms, symbols_by
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


class RateWire(Struct):
    symbol: str
    rate: str
    nextFundingTime: str
    period: str = ""  # `8H`


decode_rates = Decoder(list[RateWire]).decode


def word(s: Subscription) -> str:
    return CHANNELS[s.channel] + s.interval if s.channel == "candles" else CHANNELS[s.channel]


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
            yield Funding(raw_symbol=r.symbol, rate=r.rate, interval_s=interval, ts_next=ms(r.nextFundingTime) or None)


EXCHANGE = Exchange(
    id="toobit",
    docs="https://api-docs.toobit.com",
    checked="2026-09, live probes by others; 2026-11, ccxt 4.5.90 and Toobit.Net for trades and candles",
    trouble=coded("code", "msg", fine=("0", "200"), busy=("-1003",)),
    listing=listing(REST),
    feeds=(
        Stream(
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
        ),
        Poll(
            name="funding",
            channels=("funding",),
            every=60,
            request=lambda _: Request(f"{REST}/api/v1/futures/fundingRate"),
            parse=read_rates,
            many=True,
            serves=lambda i: i.kind == "perpetual",
        ),
    ),
    notes=(
        "Sizes of contracts count contracts, of which there may be parts.",
        "The funding rate is that of the running interval; for a minute after its end `ts_next` is still the last one.",
        "An index is named by a word of its own, which several contracts share: index prices are left out.",
        "A market that is delisted is served an empty book.",
    ),
)
