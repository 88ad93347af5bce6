"""The protocol of HitBTC, version 3, which its sister exchanges speak too: channels, each for a list of symbols.

https://api.hitbtc.com/#socket-market-data
An acknowledgement lists the symbols that are known: one that is not is left out of it without a word.
"""

from collections.abc import Callable, Iterable, Sequence

from aggregator.exchange import Exchange, Limits, Older, Stream, Subscribe, Subscription, every_instrument
from aggregator.records import Channel, Instrument
from aggregator.refusals import coded
from aggregator.sequence import contiguous
from aggregator.wire import encode, symbols_by
from connectors.families.hitbtc.frames import parse
from connectors.families.hitbtc.rest import listing
from connectors.families.hitbtc.wires import PERIODS

CHANNELS: dict[Channel, str] = {
    "trades": "trades",
    "book": "orderbook/full",
    "bbo": "orderbook/top/100ms",
    "ticker": "ticker/1s",
    "candles": "candles",
}
FUTURES: dict[Channel, str] = dict.fromkeys(("funding", "open_interest", "mark_price", "index_price"), "futures/info")


def channel_name(s: Subscription) -> str:
    name = CHANNELS.get(s.channel) or FUTURES[s.channel]
    return f"{name}/{PERIODS.get(s.interval, s.interval)}" if s.channel == "candles" else name


def asking(method: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for name, symbols in symbols_by(channel_name, wanted).items():
            yield encode({"method": method, "ch": name, "params": {"symbols": symbols}, "id": id})

    return ask


def is_contract(instrument: Instrument) -> bool:
    return instrument.kind != "spot"


def exchange(id: str, *, host: str, docs: str, checked: str) -> Exchange:
    """Declare an exchange that speaks HitBTC, by its host."""
    api = f"https://{host}/api/3"

    def stream(name: str, channels: dict[Channel, str], serves: Callable[[Instrument], bool]) -> Stream:
        return Stream(
            name=name,
            url=f"wss://{host}/api/3/ws/public",
            channels=channels,
            serves=serves,
            subscribe=asking("subscribe"),
            unsubscribe=asking("unsubscribe"),
            parse=parse,
            sequence={"book": contiguous} if "book" in channels else {},
            pace=0.1,  # ten requests a second are allowed
            patience=300,  # it says nothing where nothing happens; protocol pings tell a dead line
        )

    return Exchange(
        id=id,
        older=(Older(channels=("trades", "book", "ticker", "candles")),),
        docs=docs,
        checked=checked,
        trouble=coded("code", "message", within="error", busy=("429",)),
        limits=Limits(weights={api: ((30, 1),)}, connections=100),
        listing=listing(api),
        feeds=(stream("main", CHANNELS, every_instrument), stream("futures", FUTURES, is_contract)),
        notes=(
            "An unknown symbol is not refused: no acknowledgement names it.",
            "Version 2 of the protocol is still read, and no longer asked for.",
            "Funding, open interest, mark and index price come every three seconds; the rate to come is an estimate.",
        ),
    )
