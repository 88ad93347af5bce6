"""The daemon on OKX with no sink and no feed, to a Python callback on the bus that counts: run by `bench.callbacks`.

Arguments: the addresses of the socket and of REST, and `trade` or `book`. Each line of input has it print how many
objects have come.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from aggregator.bus.bus import Batch
from aggregator.config.config import Config, ExchangeConfig
from aggregator.daemon.daemon import Daemon, run
from aggregator.records import BookDelta, BookSnapshot, Channel, Trade

KINDS: dict[str, tuple[Channel, tuple[type, ...]]] = {
    "trade": ("trades", (Trade,)),
    "book": ("book", (BookSnapshot, BookDelta)),
}


def main(ws: str, http: str, kind: str) -> None:
    """Gather, and count until the input ends."""
    channel, wanted = KINDS[kind]
    count = 0

    def receive(batch: Batch) -> None:
        nonlocal count
        for record in batch.records:
            count += isinstance(record, wanted)

    async def serve() -> None:
        with tempfile.TemporaryDirectory() as home:
            endpoints = {"wss://ws.okx.com": ws, "https://www.okx.com": http}
            exchange = ExchangeConfig(id="okx", channels=(channel,), symbols=("*",), endpoints=endpoints)
            daemon = Daemon(Config(exchanges=(exchange,), sinks=(), state=Path(home), log_level="error"))

            def answer() -> None:
                if sys.stdin.readline():
                    print(json.dumps({"objects": count}), flush=True)
                else:
                    daemon.stop()

            daemon.bus.attach(receive)
            asyncio.get_running_loop().add_reader(sys.stdin, answer)
            await daemon.run()

    run(serve)


if __name__ == "__main__":
    main(*sys.argv[1:])
