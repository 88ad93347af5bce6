"""Coinbase Exchange as the exchange speaks it; see `connectors/coinbaseexchange/wires.py`."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.simulation import Change, Deal, Heard, Market, Said, Simulation
from aggregator.wire import encode

CHANNELS = {"matches": "match", "level2_batch": "l2update", "ticker": "ticker", "heartbeat": "heartbeat"}
MAKER = {"buy": "sell", "sell": "buy"}


class NamedChannel(Struct):
    name: str
    product_ids: list[str] = []


class Asked(Struct):
    type: str
    product_ids: list[str] = []
    channels: list[str | NamedChannel] = []


decode = Decoder(Asked).decode


def name(market: Market) -> str:
    return f"{market.base}-{market.quote}"


def iso(ts: int) -> str:
    return f"{datetime.fromtimestamp(ts // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{ts // 1000 % 10**6:06d}Z"


def hear(frame: bytes, markets: Mapping[str, Market], now: int) -> Heard:
    asked = decode(frame)
    topics = []
    listed = []
    for channel in asked.channels:
        channel_name = channel if isinstance(channel, str) else channel.name
        products = asked.product_ids if isinstance(channel, str) else channel.product_ids or asked.product_ids
        unknown = [product for product in products if product not in markets]
        if unknown or channel_name not in CHANNELS:
            reason = f"{unknown[0]} is not a valid product" if unknown else f"{channel_name} is not a valid channel"
            return Heard([encode({"type": "error", "message": "Failed to subscribe", "reason": reason})])
        topics += [f"{channel_name}:{product}" for product in products]
        listed.append({"name": channel_name, "product_ids": products})
    reply = [encode({"type": "subscriptions", "channels": listed})]
    if asked.type == "unsubscribe":
        return Heard(reply, unsubscribe=topics)
    first = [said for topic in topics for said in _first(topic, markets, now)]
    return Heard(reply, subscribe=topics, first=first)


def _first(topic: str, markets: Mapping[str, Market], now: int) -> Iterable[Said]:
    channel, _, product = topic.partition(":")
    market = markets[product]
    if channel == "level2_batch":
        bids, asks = market.levels()
        frame = {"type": "snapshot", "product_id": product, "bids": bids, "asks": asks, "time": iso(now)}
        yield Said(topic, "book", product, encode(frame))


def say(event: Change | Deal | None, market: Market, wanted: set[str], now: int) -> Iterable[Said]:
    product = name(market)
    if isinstance(event, Deal):
        match = {
            "type": "match",
            "trade_id": event.id,
            "maker_order_id": "f71dd5c4-b316-4869-83db-ff328a7379a6",
            "taker_order_id": "d30ea30a-c805-4f05-ba7e-28020dfc52b3",
            "side": MAKER[event.side],
            "size": event.size,
            "price": event.price,
            "product_id": product,
            "sequence": market.update * 3 + event.id,
            "time": iso(event.ts),
        }
        yield Said(f"matches:{product}", "trades", product, encode(match), (event.id, event.id))
    elif isinstance(event, Change):
        changes = [["buy", *level] for level in event.bids] + [["sell", *level] for level in event.asks]
        update = {"type": "l2update", "product_id": product, "changes": changes, "time": iso(event.ts)}
        yield Said(
            f"level2_batch:{product}", "book", product, encode(update), (event.first, event.last), detectable=False
        )
    elif f"ticker:{product}" in wanted:
        yield Said(f"ticker:{product}", "ticker", product, encode(_ticker(market, now)), None, detectable=False)


def _ticker(market: Market, now: int) -> dict[str, object]:
    (bid, bid_size), (ask, ask_size) = market.best()
    return {
        "type": "ticker",
        "sequence": market.update * 3 + market.trade_id,
        "product_id": name(market),
        "price": market.last,
        "open_24h": market.last,
        "volume_24h": f"{market.volume:.8f}",
        "low_24h": market.last,
        "high_24h": market.last,
        "volume_30d": f"{market.volume:.8f}",
        "best_bid": bid,
        "best_bid_size": bid_size,
        "best_ask": ask,
        "best_ask_size": ask_size,
        "side": "buy",
        "time": iso(now),
        "trade_id": market.trade_id,
        "last_size": bid_size,
    }


def answer(path: str, _: Mapping[str, str], markets: Mapping[str, Market], __: int) -> tuple[int, bytes]:
    if path.endswith("/products"):
        return 200, encode([_listed(market) for market in markets.values()])
    if path.endswith("/trades") and (market := markets.get(path.split("/")[-2])) is not None:
        return 200, encode([_past(deal) for deal in reversed(market.past)])
    return 404, encode({"message": "NotFound"})


def _past(deal: Deal) -> dict[str, object]:
    return {
        "trade_id": deal.id,
        "side": MAKER[deal.side],
        "size": deal.size,
        "price": deal.price,
        "time": iso(deal.ts),
    }


def _listed(market: Market) -> dict[str, object]:
    return {
        "id": name(market),
        "base_currency": market.base,
        "quote_currency": market.quote,
        "quote_increment": market.price(1),
        "base_increment": market.size(1),
        "display_name": f"{market.base}-{market.quote}",
        "min_market_funds": "1",
        "margin_enabled": False,
        "post_only": False,
        "limit_only": False,
        "cancel_only": False,
        "status": "online",
        "status_message": "",
        "trading_disabled": False,
        "auction_mode": False,
    }


SIMULATION = Simulation(
    hosts=("wss://ws-feed.exchange.coinbase.com", "https://api.exchange.coinbase.com"),
    markets=(
        ("BTC", "USD", 67101.12, (2, 8)),
        ("ETH", "USD", 2610.05, (2, 8)),
        ("SOL", "USD", 151.11, (2, 6)),
        ("XRP", "USD", 0.5311, (4, 6)),
    ),
    name=name,
    hear=hear,
    say=say,
    answer=answer,
    idle=b'{"type":"subscriptions","channels":[]}',
)
