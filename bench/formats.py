"""How the exchanges write what happens: their formats of today, one class each."""

import zlib

from bench.market import Change, Ladder, Pair
from bench.wires import Wire, eight, rows


class Binance(Wire):
    def raw_symbol(self, pair: Pair) -> str:
        return f"{pair.base}{pair.quote}T"

    def _combined(self, pair: Pair, stream: str, data: dict[str, object]) -> object:
        return {"stream": f"{self.raw_symbol(pair).lower()}@{stream}", "data": data}

    def trade(self, pair: Pair, price: int, size: int) -> object:
        symbol, us = self.raw_symbol(pair), self.moment.us
        data: dict[str, object] = {"e": "trade", "E": us, "s": symbol, "t": self.next(f"trade {symbol}")}
        data |= {"p": eight(pair.price(price)), "q": eight(pair.size(size)), "T": us - 900, "m": self.buys, "M": True}
        return self._combined(pair, "trade", data)

    def ticker(self, pair: Pair, bid: int, ask: int, size: int) -> object:
        data: dict[str, object] = {"u": self.next("update"), "s": self.raw_symbol(pair), "b": eight(pair.price(bid))}
        data |= {"B": eight(pair.size(size)), "a": eight(pair.price(ask)), "A": eight(pair.size(size + 7))}
        return self._combined(pair, "bookTicker", data)

    def delta(self, ladder: Ladder, bids: Change, asks: Change) -> object:
        symbol = self.raw_symbol(ladder.pair)
        first = self.next(symbol)
        last = self.next(symbol, len(bids) + len(asks) - 1)
        data: dict[str, object] = {"e": "depthUpdate", "E": self.moment.us, "s": symbol, "U": first, "u": last}
        data |= {"b": rows(ladder.pair, bids, eight), "a": rows(ladder.pair, asks, eight)}
        return self._combined(ladder.pair, "depth@100ms", data)

    def snapshot(self, ladder: Ladder) -> object:
        bids, asks = ladder.whole()
        last = self.next(self.raw_symbol(ladder.pair), 0)
        return {
            "lastUpdateId": last,
            "bids": rows(ladder.pair, bids, eight),
            "asks": rows(ladder.pair, asks, eight),
        }


class CoinbaseExchange(Wire):
    def raw_symbol(self, pair: Pair) -> str:
        return f"{pair.base}-{pair.quote}"

    def trade(self, pair: Pair, price: int, size: int) -> object:
        symbol = self.raw_symbol(pair)
        return {
            "type": "match",
            "trade_id": self.next(f"trade {symbol}"),
            "maker_order_id": "7e0c9b1e-5c33-4f6c-9c58-0f6d1a3fb8a1",
            "taker_order_id": "2d9f0f35-90d4-4a0b-8f0e-6f6f3b8f9c11",
            "side": "buy" if self.buys else "sell",
            "size": pair.size(size),
            "price": pair.price(price),
            "product_id": symbol,
            "sequence": self.next(symbol),
            "time": self.moment.iso,
        }

    def ticker(self, pair: Pair, bid: int, ask: int, size: int) -> object:
        symbol = self.raw_symbol(pair)
        return {
            "type": "ticker",
            "sequence": self.next(symbol),
            "product_id": symbol,
            "price": pair.price(ask),
            "open_24h": pair.price(pair.start),
            "volume_24h": "9651.09281234",
            "low_24h": pair.price(pair.start - 900),
            "high_24h": pair.price(pair.start + 900),
            "volume_30d": "293948.83428120",
            "best_bid": pair.price(bid),
            "best_bid_size": pair.size(size),
            "best_ask": pair.price(ask),
            "best_ask_size": pair.size(size + 7),
            "side": "buy" if self.buys else "sell",
            "time": self.moment.iso,
            "trade_id": self.next(f"trade {symbol}", 0),
            "last_size": pair.size(size),
        }

    def delta(self, ladder: Ladder, bids: Change, asks: Change) -> object:
        pair = ladder.pair
        changes = [["buy", *row] for row in rows(pair, bids)] + [["sell", *row] for row in rows(pair, asks)]
        return {
            "type": "l2update",
            "product_id": self.raw_symbol(pair),
            "changes": changes,
            "time": self.moment.iso,
        }

    def opening(self, ladder: Ladder) -> object:
        bids, asks = ladder.whole()
        return {
            "type": "snapshot",
            "product_id": self.raw_symbol(ladder.pair),
            "asks": rows(ladder.pair, asks),
            "bids": rows(ladder.pair, bids),
            "time": self.moment.iso,
        }


class Kraken(Wire):
    """Prices and sizes are JSON numbers, so the text is written by hand; the checksum is over the ten best levels."""

    depth = 100

    def raw_symbol(self, pair: Pair) -> str:
        return f"{pair.base}/{pair.quote}"

    def _message(self, channel: str, type: str, item: str) -> str:
        return f'{{"channel":"{channel}","type":"{type}","data":[{item}]}}'

    def trade(self, pair: Pair, price: int, size: int) -> object:
        symbol = self.raw_symbol(pair)
        item = (
            f'{{"symbol":"{symbol}","side":"{"buy" if self.buys else "sell"}","price":{pair.price(price)},'
            f'"qty":{pair.size(size)},"ord_type":"market","trade_id":{self.next(f"trade {symbol}")},'
            f'"timestamp":"{self.moment.iso}"}}'
        )
        return self._message("trade", "update", item)

    def ticker(self, pair: Pair, bid: int, ask: int, size: int) -> object:
        item = (
            f'{{"symbol":"{self.raw_symbol(pair)}","bid":{pair.price(bid)},"bid_qty":{pair.size(size)},'
            f'"ask":{pair.price(ask)},"ask_qty":{pair.size(size + 7)},"last":{pair.price(ask)},"volume":873.99355531,'
            f'"vwap":{pair.price(pair.start)},"low":{pair.price(pair.start - 900)},"high":{pair.price(ask + 900)},'
            f'"change":-458.2,"change_pct":-0.7,"timestamp":"{self.moment.iso}"}}'
        )
        return self._message("ticker", "update", item)

    def delta(self, ladder: Ladder, bids: Change, asks: Change) -> object:
        return self._book("update", ladder, bids, asks)

    def opening(self, ladder: Ladder) -> object:
        return self._book("snapshot", ladder, *ladder.whole())

    def _book(self, type: str, ladder: Ladder, bids: Change, asks: Change) -> str:
        pair = ladder.pair
        sides = [
            ",".join(f'{{"price":{pair.price(price)},"qty":{pair.size(size)}}}' for price, size in side)
            for side in (bids, asks)
        ]
        item = (
            f'{{"symbol":"{self.raw_symbol(pair)}","bids":[{sides[0]}],"asks":[{sides[1]}],'
            f'"checksum":{self._checksum(ladder)},"timestamp":"{self.moment.iso}"}}'
        )
        return self._message("book", type, item)

    def _checksum(self, ladder: Ladder) -> int:
        bids, asks = ladder.whole()
        pair = ladder.pair
        digits = "".join(
            text.replace(".", "").lstrip("0")
            for price, size in asks[:10] + bids[:10]
            for text in (pair.price(price), pair.size(size))
        )
        return zlib.crc32(digits.encode())


class Okx(Wire):
    depth = 400

    def raw_symbol(self, pair: Pair) -> str:
        return f"{pair.base}-{pair.quote}T"

    def _push(self, pair: Pair, channel: str, item: object, **more: str) -> object:
        return {"arg": {"channel": channel, "instId": self.raw_symbol(pair)}, **more, "data": [item]}

    def trade(self, pair: Pair, price: int, size: int) -> object:
        symbol = self.raw_symbol(pair)
        number = self.next(f"trade {symbol}")
        item = {"instId": symbol, "tradeId": str(number), "px": pair.price(price), "sz": pair.size(size)}
        item |= {"side": "buy" if self.buys else "sell", "ts": str(self.moment.ms), "count": "1", "source": "0"}
        return self._push(pair, "trades", item | {"seqId": self.next(symbol)})

    def ticker(self, pair: Pair, bid: int, ask: int, size: int) -> object:
        item = {"instType": "SPOT", "instId": self.raw_symbol(pair), "last": pair.price(ask), "lastSz": pair.size(size)}
        item |= {"askPx": pair.price(ask), "askSz": pair.size(size + 7)}
        item |= {"bidPx": pair.price(bid), "bidSz": pair.size(size), "open24h": pair.price(pair.start)}
        item |= {"high24h": pair.price(pair.start + 900), "low24h": pair.price(pair.start - 900)}
        item |= {"sodUtc0": pair.price(pair.start), "sodUtc8": pair.price(pair.start)}
        item |= {"volCcy24h": "293948834.2812", "vol24h": "9651.0928", "ts": str(self.moment.ms)}
        return self._push(pair, "tickers", item)

    def delta(self, ladder: Ladder, bids: Change, asks: Change) -> object:
        return self._book("update", ladder, bids, asks, self.next(f"book {self.raw_symbol(ladder.pair)}", 0))

    def opening(self, ladder: Ladder) -> object:
        return self._book("snapshot", ladder, *ladder.whole(), before=-1)

    def _book(self, action: str, ladder: Ladder, bids: Change, asks: Change, before: int) -> object:
        pair = ladder.pair
        number = self.next(f"book {self.raw_symbol(pair)}", 3)
        sides = [[[*row, "0", "1" if row[1] != "0" else "0"] for row in rows(pair, side)] for side in (bids, asks)]
        item = {"asks": sides[1], "bids": sides[0], "ts": str(self.moment.ms), "checksum": 0}
        return self._push(pair, "books", item | {"seqId": number, "prevSeqId": before}, action=action)


WIRES: dict[str, type[Wire]] = {
    "binance": Binance,
    "coinbaseexchange": CoinbaseExchange,
    "kraken": Kraken,
    "okx": Okx,
}
