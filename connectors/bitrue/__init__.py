"""Bitrue: spot pairs and perpetual contracts, in ChainUP's protocol: frames are gzipped, and books are whole.

https://www.bitrue.com/api-docs
https://github.com/Bitrue-exchange/Spot-official-api-docs
The socket of pairs is documented for books alone, so their trades, tickers and best prices come by REST.
"""

from aggregator.exchange import Exchange, Limits, Stream
from aggregator.records import DAY_S
from aggregator.refusals import coded
from aggregator.wire import gunzip
from connectors.bitrue import frames, rest
from connectors.bitrue.listing import CONTRACT, LISTING, SPOT, is_contract

EXCHANGE = Exchange(
    id="bitrue",
    docs="https://www.bitrue.com/api-docs",
    checked="2026-09, live probes of perpetual contracts by others; pairs: its documentation and ccxt 4.5.90",
    trouble=coded("code", "msg", fine=("0", "200", "success"), busy=("-1003",)),
    limits=Limits(lifetime=DAY_S, connections=100, weights={SPOT: ((1000, 60),), CONTRACT: ((300, 60),)}),
    listing=LISTING,
    feeds=(
        Stream(
            name="contract",
            url="wss://fmarket-ws.bitrue.com/kline-api/ws",
            channels=frames.CONTRACT,
            serves=is_contract,
            named=dict.fromkeys(frames.CONTRACT, frames.contract_id),
            topic=frames.topic,
            subscribe=frames.asking("sub"),
            unsubscribe=frames.asking("unsub"),
            parse=frames.parse,
            inflate=gunzip,
            depth=30,
            per_connection=100,
            patience=30,  # the exchange pings every 10 s
            acknowledges=False,
        ),
        Stream(
            name="spot",
            url="wss://ws.bitrue.com/market/ws",
            channels=frames.SPOT,
            serves=lambda i: not is_contract(i),
            topic=frames.topic,
            subscribe=frames.asking("sub"),
            unsubscribe=frames.asking("unsub"),
            parse=frames.parse,
            inflate=gunzip,
            per_connection=100,
        ),
        rest.TRADES,
        rest.TICKER,
        rest.BEST,
        rest.INDEX,
    ),
    notes=(
        "Sizes of contracts count contracts; what their `amount` counts is not the same everywhere, so it is not told.",
        "What the socket tells of contracts is about seven seconds old, and its times step back now and then.",
        "A book of a contract holds thirty levels a side, which are not always the best thirty in a row.",
        "Trades of contracts have no id; that their side is the taker's is not documented, but how others read it.",
        "Contracts have no open interest and no liquidations; how long a funding interval is is not said.",
        "A market that is not known is never refused: it stays silent.",
    ),
)
