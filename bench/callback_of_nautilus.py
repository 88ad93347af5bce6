"""nautilus_trader's client of OKX, which is Rust, to a Python callback that counts: run by `bench.callbacks`.

It runs in nautilus_trader's own environment, so it imports nothing of this program. Arguments: the socket's address,
`trade` or `book`, and the markets as `BTC-USDT:2:6`, a name with the decimals of its prices and sizes. Each line of
input has it print how many objects have come.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence

import uvloop
from nautilus_trader.core import nautilus_pyo3 as rust
from nautilus_trader.model.data import OrderBookDeltas, TradeTick, capsule_to_data

KINDS = {"trade": TradeTick, "book": OrderBookDeltas}


def instrument(market: str) -> rust.CurrencyPair:
    """A market as the client must know it before it reads its frames."""
    name, *decimals = market.split(":")
    base, quote = map(rust.Currency.from_str, name.split("-"))
    prices, sizes = map(int, decimals)
    return rust.CurrencyPair(
        rust.InstrumentId.from_str(f"{name}.OKX"),
        rust.Symbol(name),
        base,
        quote,
        prices,
        sizes,
        rust.Price(10**-prices, prices),
        rust.Quantity(10**-sizes, sizes),
        0,
        0,
    )


async def main(url: str, kind: str, markets: Sequence[str]) -> None:
    """Connect and subscribe as its adapter does, and count until the input ends."""
    loop = asyncio.get_running_loop()
    wanted, count = KINDS[kind], 0

    def receive(message: object) -> None:
        nonlocal count
        if rust.is_pycapsule(message):  # as its adapter has it: the object that a strategy gets
            count += isinstance(capsule_to_data(message), wanted)

    def answer() -> None:
        if not sys.stdin.readline():
            os._exit(0)  # at an end in order its threads call into an interpreter that is gone, and abort
        print(json.dumps({"objects": count}), flush=True)

    client = rust.OKXWebSocketClient(url=url, heartbeat=20)
    instruments = [instrument(market) for market in markets]
    await client.connect(loop, instruments, receive)
    await client.wait_until_active(10)
    for each in instruments:
        if kind == "trade":
            await client.subscribe_trades(each.id, aggregated=False)
        else:
            await client.subscribe_book_with_depth(each.id, 0)
    loop.add_reader(sys.stdin, answer)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
