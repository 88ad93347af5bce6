"""Nado: perpetuals and spot on Ink, in the words of Vertex.

https://docs.nado.xyz
A handshake must offer permessage-deflate.
"""

from collections.abc import Iterable, Sequence

from aggregator.exchange import Exchange, Heartbeat, Stream, Subscribe, Subscription
from aggregator.refusals import coded
from aggregator.sequence import spanning
from aggregator.wire import encode, interval_s
from connectors.nado.frames import CHANNELS, parse
from connectors.nado.listing import BOOK, CONTRACTS, LISTING, TICKERS


def asking(method: str, sign: int) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for s in wanted:
            number: object = int(s.raw_symbol) if s.raw_symbol.isdecimal() else s.raw_symbol
            stream: dict[str, object] = {"type": CHANNELS[s.channel], "product_id": number}
            if s.channel == "candles":
                stream["granularity"] = interval_s(s.interval)
            yield encode({"method": method, "stream": stream, "id": sign * id})

    return ask


EXCHANGE = Exchange(
    id="nado",
    docs="https://docs.nado.xyz",
    checked="2026-11, its Python client 2.0.0, ccxt 4.5.90, and of liquidations its documentation as others quote it",
    trouble=coded("error_code", "error", busy=("1000",)),
    listing=LISTING,
    feeds=(
        Stream(
            url="wss://gateway.prod.nado.xyz/v1/subscribe",
            compression="required",
            channels=CHANNELS,
            subscribe=asking("subscribe", 1),
            unsubscribe=asking("unsubscribe", -1),
            parse=parse,
            snapshot=BOOK,
            sequence={"book": spanning},
            heartbeat=Heartbeat(every=20, frame=b'{"method":"ping","id":0}'),
            batch=1,  # an answer has the number of its request alone
            patience=60,  # a ping is answered when there is nothing else to say
        ),
        TICKERS,
        CONTRACTS,
    ),
    notes=(
        "A raw symbol is the number of a market; its name is only in the listing.",
        "The numbers of a book are times: a change names that of the change before it. Trades have no ids.",
        "A funding rate is that of a day, as its record says; funding is exchanged each hour.",
        "Funding, open interest, mark and index prices and tickers come by REST.",
        "A liquidation tells what of a position another account took over, and at which price; a spread's is left out.",
    ),
)
