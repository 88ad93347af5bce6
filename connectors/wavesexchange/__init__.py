"""WX Network, formerly Waves.Exchange: a matcher keeps the orders, and the chain of Waves has the trades.

https://docs.wx.network/en/waves-matcher/matcher-websocket-api-common-streams
https://github.com/wavesplatform/matcher says of it what the documentation leaves out: the depth that is asked for does
nothing, each subscription is numbered from 0, and an error's code ends in the class of what is wrong. The prices of the
stream are decimals, while its book by REST has whole numbers of the smallest unit: only the stream is read.
"""

from collections.abc import Iterable, Sequence

from msgspec import Raw
from msgspec.json import Decoder

from aggregator.exchange import (
    Event,
    Exchange,
    Limits,
    Listing,
    Poll,
    Reply,
    Request,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import DAY_S, Instrument, Record
from aggregator.refusals import coded
from aggregator.sequence import contiguous
from aggregator.wire import as_written, encode
from connectors.wavesexchange.wires import (
    BookWire,
    ErrorWire,
    InitialWire,
    PingWire,
    TickerWire,
    Transactions,
)

CHAIN = "https://api.wavesplatform.com/v0/transactions/exchange"
TICKERS = Request("https://wx.network/api/v1/forward/marketdata/api/v1/tickers")
MATCHER = "3PEjHv3JGjcWNpYEEkif2w8NXV4kbhnoGgu"  # its account; others trade the same pairs on the chain
DEPTH = 1000  # levels a side: a number that it wants to see

decode = Decoder(BookWire | PingWire | InitialWire | ErrorWire).decode
decode_transactions = Decoder(Transactions, float_hook=as_written).decode
decode_tickers = Decoder(list[TickerWire], float_hook=as_written).decode
decode_ticker = Decoder(TickerWire, float_hook=as_written).decode
rows = Decoder(list[Raw]).decode


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    if isinstance(said, BookWire):
        return said.events()
    if isinstance(said, PingWire):
        return (Reply(frame),)  # it wants to see its own words again
    return (said.event(),) if isinstance(said, ErrorWire) else ()


def ask(word: str, **more: int) -> Subscribe:
    def frames(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        return [encode({"T": word, "S": s.raw_symbol, **more}) for s in wanted]

    return frames


def transactions(raw_symbol: str) -> Request:
    amount, _, price = raw_symbol.partition("-")
    return Request(f"{CHAIN}?amountAsset={amount}&priceAsset={price}&matcher={MATCHER}&limit=100&sort=desc")


def read_transactions(raw_symbol: str, body: bytes) -> Iterable[Record]:
    found = reversed(decode_transactions(body).data)
    return [row.data.record(raw_symbol) for row in found if not row.data.is_void]


def read_tickers(_: str, body: bytes) -> Iterable[Record]:
    return [t.record() for t in decode_tickers(body)]


def read_pair(row: Raw) -> Instrument:
    return decode_ticker(row).instrument()


EXCHANGE = Exchange(
    id="wavesexchange",
    docs="https://docs.wx.network/en/waves-matcher/matcher-websocket-api-common-streams",
    checked="2026-11, its documentation, its own code and ccxt 4.4.40; nothing was seen live, by us or by others",
    trouble=coded("errors"),
    notes=(
        "It hardly trades any more, and no source tells whether its hosts answer since June 2026.",
        "A pair is named by the ids of its assets, as in `WAVES-8LQW8f7P5d5PZM7GtZEBgaqRPGSzS3DfPuiXrURJ4AJS`.",
        "Trades are transactions of the chain, polled: they come about a minute late. Those that failed are left out.",
        "A trade's side is that of the younger order, by the times that the two traders gave them.",
        "The stream tells of a trade too, but only the last of each 100 ms, without a number: it is not used.",
        "Candles are answered for a time that the request must name, so they are not had. Nor are best prices.",
    ),
    limits=Limits(
        weights={"https://api.wavesplatform.com": ((1, 1),), "https://wx.network": ((1, 1),)}, lifetime=DAY_S
    ),
    listing=Listing((TICKERS,), rows, read_pair),
    feeds=(
        Stream(
            url="wss://matcher.wx.network/ws/v0",
            mirrors=("wss://matcher.waves.exchange/ws/v0",),
            channels={"book": "ob"},
            subscribe=ask("obs", d=DEPTH),
            unsubscribe=ask("u"),
            parse=parse,
            sequence={"book": contiguous},
            per_connection=10,  # one more ends the first
            batch=1,  # an error does not always name its pair
            patience=90,  # it pings each 30 seconds
        ),
        Poll(name="trades", channels=("trades",), every=30, request=transactions, parse=read_transactions),
        Poll(name="tickers", channels=("ticker",), every=60, request=lambda _: TICKERS, parse=read_tickers, many=True),
    ),
)
