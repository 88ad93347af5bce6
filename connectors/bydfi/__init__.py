"""BYDFi: perpetual contracts, by the protocol of MEXC's contracts; pairs are asked for.

https://www.mexc.com/api-docs/futures/websocket-api
On 22 September 2026 it replaced its own protocol, which ccxt 4.5.90 still describes. It documents nothing of the new
one: `futures.bydfi.com` is the host of its web page, and what is read here is what probes saw and MEXC documents.
"""

from msgspec import structs

from aggregator.exchange import Exchange, Heartbeat, Limits, Older, Stream
from aggregator.refusals import coded
from aggregator.sequence import contiguous
from aggregator.wire import by_word
from connectors.bydfi import legacy
from connectors.bydfi.rest import API, BOOK, CANDLES, CONTRACT, DAYS, SPOT
from connectors.families.mexc import contract_frames
from connectors.families.mexc.listing import listing

EXCHANGE = Exchange(
    id="bydfi",
    older=(Older(channels=("ticker", "candles", "book"), until="2026-09-22"),),
    docs="https://www.mexc.com/api-docs/futures/websocket-api",
    checked="2026-09, live probes of contracts by others, the day after its change; 2026-11, MEXC's documentation",
    trouble=coded("code", "message", fine=("0", "200"), busy=("510",)),
    limits=Limits(weights={API: ((20, 10),)}),
    listing=structs.replace(listing(SPOT, CONTRACT), read=legacy.read_listed),
    feeds=(
        Stream(
            name="contract",
            url="wss://futures.bydfi.com/edge",
            channels=contract_frames.CHANNELS,
            serves=lambda i: i.kind != "spot",
            subscribe=contract_frames.asking("sub"),
            unsubscribe=contract_frames.asking("unsub"),
            parse=by_word(b'"e":"', legacy.READERS, legacy.parse_other(contract_frames.parse)),
            snapshot=contract_frames.snapshot(CONTRACT),
            sequence={"book": contiguous},
            heartbeat=Heartbeat(every=15, frame=b'{"method":"ping"}'),
            patience=45,  # a ping is answered even when nothing else is to be said
            batch=200,  # several channels are one of the exchange's
            pace=0.05,
        ),
        BOOK,
        DAYS,
        CANDLES,
    ),
    notes=(
        "Its protocol is that of MEXC since 22 September 2026, without a documentation: it may change without notice.",
        "Sizes of contracts count contracts; of the volumes of their candles and tickers, the turnover alone is told.",
        "The best prices of contracts come without sizes, and are up to two seconds old.",
        "A book at times stands still for up to seven seconds, and then changes in hundreds of levels.",
        "Pairs have no stream that is known, and no trades: those by REST have no ids.",
        "Candles of pairs are of one minute. Captures of its former protocol are read too.",
    ),
)
