"""CoinMarketCap, which is no exchange: it averages the prices of exchanges. It is polled, with a key.

https://coinmarketcap.com/api/documentation
https://coinmarketcap.com/api/resources/how-to-handle-coinmarketcap-api-errors-and-rate-limit--responses
A plan has a number of credits a month, 10,000 at least. An answer of 200 coins costs one: asking for them every ten
minutes, and for the list of them every fifteen, takes 7,200.
"""

from collections.abc import Iterable, Mapping

from msgspec import Raw, Struct, structs
from msgspec.json import Decoder

from aggregator.exchange import Credentials, Exchange, Keys, Limits, Listing, Poll, Request, Trouble
from aggregator.records import DAY_S, HOUR_S, Instrument, Record, Ticker
from aggregator.refusals import coded
from aggregator.wire import Text, as_written, at, from_iso, nonzero, optional

API = "https://pro-api.coinmarketcap.com"
QUOTE = "USD"
SPENT = ("1009", "1010")  # the credits of the day, or of the month
BUSY = ("1008", "1011", *SPENT)  # the calls of a minute, those of an address


class QuoteWire(Struct, gc=False):
    price: Text = None
    volume_24h: Text = None
    last_updated: str | None = None
    symbol: str = QUOTE


class CoinWire(Struct, gc=False):
    id: int
    symbol: str
    quote: list[QuoteWire] | dict[str, QuoteWire] = []  # a list in version 3, by the currency's name before

    def quoted(self) -> QuoteWire | None:
        if isinstance(self.quote, dict):
            return self.quote.get(QUOTE)
        return next((quote for quote in self.quote if quote.symbol == QUOTE), None)


class CoinsWire(Struct):
    data: list[CoinWire]


decode_coins = Decoder(CoinsWire, float_hook=as_written).decode
decode_coin = Decoder(CoinWire, float_hook=as_written).decode
said = coded("error_code", "error_message", within="status", fine=("0",), busy=BUSY)


def with_key(keys: Credentials, _: int, request: Request) -> Request:
    return structs.replace(request, headers={"X-CMC_PRO_API_KEY": keys["key"]})


LARGEST = Request(f"{API}/v3/cryptocurrency/listings/latest?start=1&limit=200&convert={QUOTE}", sign=with_key)


def read_prices(_: str, body: bytes) -> Iterable[Record]:
    for coin in decode_coins(body).data:
        quote = coin.quoted()
        if quote is not None:
            yield Ticker(
                raw_symbol=str(coin.id),
                last=nonzero(quote.price),
                quote_volume=optional(quote.volume_24h),
                window_s=DAY_S,
                ts_event=from_iso(quote.last_updated) if quote.last_updated else None,
            )


def read_coin(row: Raw) -> Instrument:
    coin = decode_coin(row)
    return Instrument(raw_symbol=str(coin.id), base=coin.symbol, quote=QUOTE)


def read_trouble(status: int, headers: Mapping[str, str], body: bytes) -> Trouble | None:
    trouble = said(status, headers, body)
    is_spent = trouble is not None and trouble.words.startswith(SPENT)
    return structs.replace(trouble, wait=float(HOUR_S)) if trouble is not None and is_spent else trouble


EXCHANGE = Exchange(
    id="coinmarketcap",
    docs="https://coinmarketcap.com/api/documentation",
    keys=Keys(fields={"key": "API key"}, page="https://pro.coinmarketcap.com/account"),
    checked="2026-09, its documentation of errors and clients of version 3; nothing was seen live",
    notes=(
        "It is no exchange: `last` is its average over exchanges, weighted by volume, and nothing can be traded there.",
        "The 200 largest coins are polled every ten minutes, which the credits of the free plan allow.",
        "A market's own name is its number there, because several coins may share a symbol.",
        "Its keyless interface of 2026, which is meant for trying it out, is not used.",
    ),
    trouble=read_trouble,
    limits=Limits(weights={API: ((30, 60),)}),
    listing=Listing((LARGEST,), at("data"), read_coin),
    feeds=(
        Poll(name="prices", channels=("ticker",), every=600, request=lambda _: LARGEST, parse=read_prices, many=True),
    ),
)
