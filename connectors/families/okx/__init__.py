"""The OKX protocol, version 5: `op` and `args`, for spot, swaps, futures and options alike.

https://www.okx.com/docs-v5/en/#public-data-websocket
Sizes of derivatives count contracts. Numbers guard a book; its checksum does where it is not zero, which says nothing.
"""

from collections.abc import Collection, Iterable, Sequence

from aggregator.book import OrderBook
from aggregator.exchange import (
    Archive,
    Exchange,
    Heartbeat,
    Limits,
    Listing,
    Request,
    Snapshot,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import Channel, Instrument
from aggregator.refusals import coded
from aggregator.sequence import spanning
from aggregator.wire import crc_in_turns, encode
from connectors.families.okx import legacy
from connectors.families.okx.frames import CHANNELS, DEPTH, SWAP, parse, read_whole
from connectors.families.okx.history import history
from connectors.families.okx.listing import KINDS, listing, read_instrument, rows

DERIVATIVES = ("SWAP", "FUTURES", "OPTION")
XPERPS = "xperps"  # futures of years that pay funding as swaps do: `BTC-USD_UM_XPERP-310404`
FEEDS: tuple[tuple[str, tuple[Channel, ...], Collection[str]], ...] = (  # a name, channels, whose they are
    ("public", ("trades", "book", "bbo", "ticker"), KINDS),
    ("business", ("candles",), KINDS),
    ("indices", ("index_price",), ("SPOT",)),
    ("swaps", ("funding", "index_price"), ("SWAP",)),
    (XPERPS, ("funding",), ("FUTURES",)),
    ("derivatives", ("mark_price", "open_interest"), DERIVATIVES),
    ("liquidations", ("liquidations",), DERIVATIVES),
    ("options", ("options",), ("OPTION",)),
)
NOTES = (  # a type of instruments, and what is to be known of an exchange that has it
    ("SPOT", "A trade of several fills at one price is told as one, under the id of the last."),
    ("SWAP", "An index is told under its spot pair and its perpetual; dated contracts have none here."),
    ("SWAP", "A settled funding rate, which the exchange repeats with each current one, is told once."),
    ("OPTION", "Greeks are those in the base asset; the underlying price is the forward to the expiry."),
)
CHECKED = 25  # levels a side that a checksum covers


def asking(op: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        args = [argument(s) for s in wanted]
        yield encode({"op": op, "args": [arg for at, arg in enumerate(args) if arg not in args[:at]]})

    return ask


def argument(s: Subscription) -> dict[str, str]:
    """The fields that name a topic; liquidations come by type of instrument, and option summaries by family."""
    channel, parts = CHANNELS[s.channel], s.raw_symbol.split("-")
    if s.channel == "candles":
        return {"channel": channel + bar_name(s.interval), "instId": s.raw_symbol}
    if s.channel == "liquidations":
        type = "SWAP" if s.raw_symbol.endswith(SWAP) else "OPTION" if len(parts) > 3 else "FUTURES"
        return {"channel": channel, "instType": type}
    if s.channel == "options":
        return {"channel": channel, "instFamily": "-".join(parts[:2])}
    return {"channel": channel, "instId": s.raw_symbol}


def bar_name(interval: str) -> str:
    """An interval as the exchange spells it; long ones also come by the day of Hong Kong, `utc` makes them ours."""
    name = interval if interval[-1] in "smM" else interval.upper()
    return f"{name}utc" if name[-1] in "DWM" or name in {"6H", "12H"} else name


def level(price: str, size: str) -> str:
    return f"{price}:{size}"


def checksum(book: OrderBook, _: Instrument | None) -> int:
    return crc_in_turns(*book.spelled(CHECKED, level, level))


def is_xperp(instrument: Instrument) -> bool:
    return instrument.kind == "future" and "_XPERP-" in (instrument.raw_symbol or "")


def whole(rest: str) -> Snapshot:
    """Once each book began with a whole one; since 2026-08 it is announced that it is to be asked for."""
    return Snapshot(
        request=lambda name: Request(f"{rest}/market/books?instId={name}&sz={DEPTH}&source=0"),
        parse=read_whole,
        in_band=True,
    )


def stream(name: str, channels: Sequence[Channel], types: Iterable[str], ws: str, rest: str) -> Stream:
    kinds = {KINDS[type] for type in types}
    has_book = "book" in channels
    return Stream(
        name=name,
        url=f"{ws}/business" if "candles" in channels else f"{ws}/public",
        channels={channel: CHANNELS[channel] for channel in channels},
        serves=is_xperp if name == XPERPS else lambda instrument: instrument.kind in kinds,
        subscribe=asking("subscribe"),
        unsubscribe=asking("unsubscribe"),
        named={"index_price": lambda instrument: instrument.index} if name == "swaps" else {},
        parse=parse,
        snapshot=whole(rest) if has_book else None,
        sequence={"book": spanning} if has_book else {},
        checksum=checksum if has_book else None,
        depth=DEPTH if has_book else None,
        heartbeat=Heartbeat(every=20, frame=b"ping"),
        patience=45,  # a ping is answered even when nothing else is to be said
        per_connection=400,
        batch=100,
        pace=0.35,
        acknowledges=name not in {"liquidations", "options"},  # theirs name no instrument
    )


def exchange(
    id: str,
    *,
    docs: str,
    ws: str,
    rest: str,
    checked: str,
    types: Sequence[str] = tuple(KINDS),
    legacy_until: str | None = None,
) -> Exchange:
    """Declare an exchange that speaks OKX, by its addresses and the types of instruments that it has.

    legacy_until: the day until which it spoke version 3
    """
    served = [(name, channels, [type for type in types if type in whose]) for name, channels, whose in FEEDS]
    return Exchange(
        id=id,
        docs=docs,
        checked=checked,
        trouble=coded("code", "msg", fine=("0",), busy=("50011", "50061")),
        limits=Limits(weights={rest: ((20, 2),)}, connects=(3, 1), requests=(480, 3600)),
        listing=listing(rest, types),
        feeds=tuple(stream(name, channels, mine, ws, rest) for name, channels, mine in served if mine),
        history=history(rest, bar_name),
        archives=() if legacy_until is None else (legacy.archive(legacy_until, legacy.CHANNELS, checksum),),
        notes=tuple(note for type, note in NOTES if type in types),
    )


def archived(id: str, *, docs: str, checked: str, until: str, legacy_until: str) -> Exchange:
    """Declare an exchange of spot that spoke OKX until a day, and version 3 of it until an earlier one."""
    channels: tuple[Channel, ...] = ("trades", "book", "bbo", "ticker", "candles")
    spot = Stream(
        channels={channel: CHANNELS[channel] for channel in channels}, parse=parse, checksum=checksum, depth=DEPTH
    )
    archive = Archive(until=until, streams=(spot,), listing=Listing(rows=rows, read=read_instrument))
    older = legacy.archive(legacy_until, legacy.SPOT, checksum)
    return Exchange(id=id, docs=docs, checked=checked, archives=(older, archive))
