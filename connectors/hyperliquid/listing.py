"""Reading what Hyperliquid lists: perpetuals of its own and of its builders, and spot.

https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint/perpetuals
https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/tick-and-lot-size
A price has at most five significant figures, and so many decimals that with those of a size they are six (perpetuals)
or eight (spot): the step is that of the decimals.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Listing, Request
from aggregator.records import HOUR_S, Instrument
from aggregator.wire import encode, step

INFO = "https://api.hyperliquid.xyz/info"
PRICE_DECIMALS = {"perpetual": 6, "spot": 8}
COLLATERALS = {0: "USDC", 235: "USDE", 268: "USDT0", 360: "USDH"}  # tokens of the chain: their numbers never change


def asking(what: str) -> Request:
    return Request(
        INFO, method="POST", body=encode({"type": what}), weight=20, headers={"Content-Type": "application/json"}
    )


class CoinWire(Struct):
    """A perpetual: `BTC`, or `xyz:SP500` of the builder `xyz`."""

    name: str
    szDecimals: int
    isDelisted: bool | None = None


class PairWire(Struct):
    name: str
    tokens: tuple[int, int]  # the numbers of base and quote


class TokenWire(Struct):
    name: str
    index: int
    szDecimals: int


class UniverseWire(Struct):
    """The perpetuals of one exchange on the chain, or (where tokens are listed) all of spot."""

    universe: list[Raw]
    collateralToken: int = 0
    tokens: list[TokenWire] | None = None


class Row(Struct):
    """A row of ours: what is to be said of a market, from wherever it stands in an answer."""

    name: str
    kind: Literal["perpetual", "spot"]
    base: str
    quote: str | None
    decimals: int
    isDelisted: bool | None = None


decode_list = Decoder(list[Raw]).decode
decode_universe = Decoder(UniverseWire, strict=False).decode
decode_coin = Decoder(CoinWire, strict=False).decode
decode_pair = Decoder(PairWire, strict=False).decode
decode_row = Decoder(Row).decode


def rows(body: bytes) -> Iterable[Raw]:
    """Rows of an answer: of one universe, of several, or of one with figures (a list without names) behind it."""
    parts = decode_list(body) if body.lstrip()[:1] == b"[" else [Raw(body)]
    universes = [decode_universe(part) for part in parts if bytes(part).lstrip()[:1] == b"{"]
    return [
        Raw(encode(row)) for said in universes for row in (perpetuals(said) if said.tokens is None else pairs(said))
    ]


def perpetuals(said: UniverseWire) -> Iterable[Row]:
    quote = COLLATERALS.get(said.collateralToken)
    for coin in map(decode_coin, said.universe):
        base = coin.name.replace(":", "-").upper()  # a colon would end the name of a quote; `kPEPE` is a thousand
        yield Row(coin.name, "perpetual", base, quote, coin.szDecimals, coin.isDelisted)


def pairs(said: UniverseWire) -> Iterable[Row]:
    tokens = {token.index: token for token in said.tokens or ()}
    for pair in map(decode_pair, said.universe):
        base, quote = (tokens[index] for index in pair.tokens)
        yield Row(pair.name, "spot", base.name, quote.name, base.szDecimals)


def read_row(row: Raw) -> Instrument:
    r = decode_row(row)
    is_spot = r.kind == "spot"
    return Instrument(
        raw_symbol=r.name,
        kind=r.kind,
        base=r.base,
        quote=r.quote,
        settle=None if is_spot else r.quote,
        linear=None if is_spot else True,
        contract_size=None if is_spot else "1",
        tick_size=step(max(PRICE_DECIMALS[r.kind] - r.decimals, 0)),
        lot_size=step(r.decimals),
        state="delisted" if r.isDelisted else "trading",
        funding_interval_s=None if is_spot else HOUR_S,
        funding_offset_s=None if is_spot else 0,
    )


LISTING = Listing((asking("allPerpMetas"), asking("spotMeta")), rows, read_row)
