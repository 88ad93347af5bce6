"""What every connector must keep, whatever its exchange: the contract of `aggregator/exchange.py`, for all of them."""

import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.catalog.catalog import load_catalog
from aggregator.catalog.registry import connector_ids, load_exchange
from aggregator.exchange import Credentials, Exchange, Poll, Request, Since, Stream, Subscription, no_more
from aggregator.records import CHANNELS, Channel, Instrument
from aggregator.sequence import contiguous, ordered
from aggregator.session.moment import Now
from aggregator.session.session import Session

IDS = connector_ids()
EXCHANGES: dict[str, Exchange] = {id: found for id in IDS if (found := load_exchange(id)) is not None}
STREAMS = [
    pytest.param(exchange, stream, id=f"{id}/{stream.name}")
    for id, exchange in EXCHANGES.items()
    for stream in exchange.streams
]
POLLS = [
    pytest.param(exchange, poll, id=f"{id}/{poll.name}")
    for id, exchange in EXCHANGES.items()
    for poll in exchange.polls
]
SYMBOLS = ("BTC-USDT", 'A"B\\', "Ω/😀")  # a name is the exchange's, but it must never break a frame
# As anybody may ask for them: an exchange refuses those that it does not have.
INTERVALS = ("1s", "1m", "2m", "2h", "7h", "1d", "3d", "1w", "1M")
GARBAGE = (b"", b"{", b"[]", b"{}", b"null", b'"x"', b"0", b"\xff\xfe", b"[" * 500, b'{"data":' * 300, b"\x1f\x8b\x08")


def requests_of(exchange: Exchange) -> Iterator[Request]:
    yield from exchange.listing.all_requests
    for poll in exchange.polls:
        yield poll.request("" if poll.many else "BTC-USDT")
    for stream in exchange.streams:
        if stream.snapshot is not None and stream.snapshot.request is not None:
            yield stream.snapshot.request("BTC-USDT")
        if stream.backfill is not None:
            yield stream.backfill.request("BTC-USDT", Since(5, 1_700_000_000_000_000_000))


NO_MARKET = {  # exchange -> why it has neither trades nor a book
    "coinmarketcap": "it averages the prices of exchanges, and nothing is traded there",
    "mudrex": "a broker that tells the prices of Bybit in public, and neither a book nor trades of its own",
}


@pytest.mark.parametrize("id", IDS)
def test_an_exchange_is_one_of_the_catalogue_and_well_declared(id: str) -> None:
    exchange = EXCHANGES[id]
    assert exchange.id == id
    entry = load_catalog()[id]
    assert entry.status == "live" or (entry.status, entry.operating) == ("delisted", "yes")
    assert urlsplit(exchange.docs).scheme == "https"
    assert re.match(r"20\d\d-\d\d, |ccxt ", exchange.checked), "it says when its wire was last held against what"
    assert exchange.feeds
    names = [feed.name for feed in exchange.feeds]
    assert len(set(names)) == len(names)
    assert set(exchange.channels) <= set(CHANNELS)
    assert {"trades", "book"} & set(exchange.channels) or id in NO_MARKET
    assert [note for note in exchange.notes if not note.endswith(".")] == [], "a note is a sentence, with its full stop"


@pytest.mark.parametrize("id", IDS)
def test_its_requests_are_within_its_budgets(id: str) -> None:
    exchange = EXCHANGES[id]
    limits = exchange.limits.weights
    for request in requests_of(exchange):
        assert urlsplit(request.url).scheme == "https"
        assert request.weight > 0
        prefix = max((p for p in limits if request.url.startswith(p)), key=len, default=None)
        assert prefix is None or request.weight <= min(b[0] for b in limits[prefix]), (
            f"{request.url} can never be asked for"
        )


@pytest.mark.parametrize("id", IDS)
def test_what_asks_for_a_time_says_it_by_the_moment_alone(id: str) -> None:
    for request in requests_of(EXCHANGES[id]):
        if request.timed is not None:
            said = request.timed(MOMENT)
            assert re.fullmatch(r"\w+=\d+(&\w+=\d+)*", said)
            assert said == request.timed(MOMENT) != request.timed(MOMENT + 3_600_000_000_000)


@pytest.mark.parametrize("id", IDS)
def test_it_says_how_its_instruments_are_had(id: str) -> None:
    listing = EXCHANGES[id].listing
    assert listing.requests or listing.fixed
    assert all(isinstance(instrument, Instrument) for instrument in listing.fixed)


VALUE = "c2VjcmV0IG9mIGFuIGFjY291bnQ="  # a key of any form that exchanges give: base64 is text as well
MOMENT = 1_700_000_000_123_456_789


@pytest.mark.parametrize("id", IDS)
def test_what_wants_keys_says_which_and_shows_them_only_when_it_is_signed(id: str) -> None:
    exchange = EXCHANGES[id]
    signing = [request for request in requests_of(exchange) if request.sign is not None]
    streams = [stream for stream in exchange.streams if stream.sign is not None]
    assert (exchange.keys is not None) == bool(signing or streams)
    assert load_catalog()[id].keys == exchange.with_keys
    assert not any(stream.ticket.request.sign for stream in exchange.streams if stream.ticket is not None)
    if exchange.keys is None:
        return
    assert urlsplit(exchange.keys.page).scheme == "https"
    assert exchange.keys.fields
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", field) and words for field, words in exchange.keys.fields.items())
    keys = Credentials(dict.fromkeys(exchange.keys.fields, VALUE))
    for request in signing:
        assert request.sign is not None
        signed = request.sign(keys, MOMENT, request)
        assert urlsplit(signed.url)[:3] == urlsplit(request.url)[:3]
        assert signed != request
        assert signed == request.sign(keys, MOMENT, request)
    for stream in streams:
        assert stream.sign is not None
        wanted = [Subscription(channel, "BTC-USDT") for channel in list(stream.channels)[:1]]
        for frame in (stream.login,) if stream.login is not None else stream.subscribe(wanted, 1):
            signed_frame = stream.sign(keys, MOMENT, frame)
            assert signed_frame != frame
            assert VALUE.encode() not in frame
            assert signed_frame == stream.sign(keys, MOMENT, frame)


ELSEWHERE = {  # exchange -> domains of its own that neither its home nor its documentation has
    "binancetr": {"binance.me"},
    "dydx": {"dydx.trade"},
    "gate": {"gateio.ws", "gateio.live"},
    "gateeu": {"gateeu.com"},
    "htx": {"huobi.pro", "hbdm.com"},
    "itbit": {"paxos.com"},
    "lbank": {"lbkex.net", "lbank.info"},
    "mercado": {"mercadobitcoin.net"},
    "tokocrypto": {"tokocrypto.site", "2meta.app"},
    "lighter": {"elliot.ai"},
    "woofipro": {"orderly.org"},
    "modetrade": {"orderly.org"},
}


def domain(url: str) -> str:
    """The part of an address's host that is bought: `bithumb.com`, `btcbox.co.jp`."""
    parts = (urlsplit(url).hostname or "").split(".")
    return ".".join(parts[-3:] if parts[-2] in {"co", "com"} else parts[-2:])


@pytest.mark.parametrize("id", IDS)
def test_what_it_asks_is_the_exchange_that_it_names(id: str) -> None:
    exchange, entry = EXCHANGES[id], load_catalog()[id]
    addresses = [stream.url for stream in exchange.streams if isinstance(stream.url, str) and stream.url]
    asked = {domain(url) for url in (*addresses, *(request.url for request in requests_of(exchange)))}
    assert asked <= {domain(entry.home), *map(domain, entry.docs)} | ELSEWHERE.get(id, set())


PAGED = {  # exchange -> how its documentation says that its listing pages, and an answer with a next page
    "mudrex": (
        "`offset` and `limit`, of which a page that is full is followed by another",
        b'{"success":true,"data":[' + b",".join([b"{}"] * 100) + b"]}",
    ),
    "derive": (
        "`page` and `page_size` of the request's body, and `num_pages` of the answer",
        b'{"result":{"instruments":[],"pagination":{"num_pages":2,"count":1001}}}',
    ),
    "bybit": (
        "`nextPageCursor` of the answer is the next request's `cursor`",
        b'{"retCode":0,"result":{"list":[],"nextPageCursor":"first%3DA"}}',
    ),
    "bybiteu": (
        "`nextPageCursor` of the answer is the next request's `cursor`",
        b'{"retCode":0,"result":{"list":[],"nextPageCursor":"first%3DA"}}',
    ),
    "bybitid": (
        "`nextPageCursor` of the answer is the next request's `cursor`",
        b'{"retCode":0,"result":{"list":[],"nextPageCursor":"first%3DA"}}',
    ),
    "phemex": (
        "`pageNum` and `pageSize` of its funding rates, which say how many there are in `total`",
        b'{"code":0,"data":{"total":999,"rows":[]}}',
    ),
    "delta": (
        "`meta.after` of the answer is the next request's `after`",
        b'{"meta":{"after":"g3QAAAAB","before":null,"limit":1000},"result":[]}',
    ),
    "gate": (
        "`limit` and `offset` of perpetual contracts; its own client libraries say 100 unless it is given",
        b"[" + b",".join([b'{"name":"BTC_USDT","order_price_round":"0.1"}'] * 100) + b"]",
    ),
}
ASKED_BY_NAME = {  # exchange -> whose names another answer lists: each is then asked for by itself
    "okx": (
        "options are listed by family, of which `underlying` gives all; no list has a parameter for pages",
        b'{"code":"0","data":[["BTC-USD","ETH-USD"]]}',
    ),
}
WHOLE = {  # exchange -> how its documentation says that each answer of its listing is whole
    "coinmarketcap": "`listings/latest` has pages, of which the first is all that the free plan's credits allow",
    "alpaca": "`assets` takes parameters that choose, none for pages",
    "aster": "`exchangeInfo` and `fundingInfo` give all without a parameter, and have none for pages",
    "backpack": "`markets` takes nothing but kinds of markets, and has no parameter for pages",
    "bequant": "`/public/symbol` gives all where `symbols` is left out, its only parameter",
    "bigone": "`asset_pairs` and `symbols` take no parameters",
    "binance": "`exchangeInfo` gives all without a parameter, and has none for pages",
    "binancecoinm": "`exchangeInfo` and `fundingInfo` have no parameters",
    "binancetr": "`common/symbols` takes no parameters",
    "binanceus": "`exchangeInfo` gives all without a parameter, and has none for pages",
    "binanceusdm": "`exchangeInfo` and `fundingInfo` have no parameters",
    "bitbank": "`spot/pairs` takes no parameters",
    "bitbns": "`fetchMarkets` takes no parameters",
    "bingx": "`symbols` and both `contracts` give all where no symbol is named, and have no parameter for pages",
    "bitfinex": "each list of `conf` is one answer; `limit` and the like belong to histories",
    "bitflyer": "`count`, `before` and `after` belong to histories; `getmarkets` takes none",
    "bitget": "`symbols` and `contracts` give all where `symbol` is left out, and have no parameter for pages",
    "bitvavo": "`/markets` takes nothing but `market`",
    "bitteam": "`ccxt/pairs` says how many there are in `count`, and clients ask it without a parameter",
    "bithumb": "`market/all` takes nothing but `isDetails`",
    "bitopro": "`provisioning/trading-pairs` takes no parameters",
    "bitrue": "`exchangeInfo` and both `contracts` take no parameters",
    "bitso": "`available_books` takes no parameters",
    "bitstamp": "`/api/v2/markets/` takes no parameters",
    "blofin": "`instruments` takes nothing but `instId`",
    "btcbox": "`tickers` takes no parameters",
    "buda": "`markets` takes no parameters",
    "cex": "`get_pairs_info` gives all where its body is empty",
    "coinbase": "`limit` and `offset` cut the list of products; without them it is whole",
    "coinbaseinternational": "`get_instruments` takes `currency`, `kind` and `expired`, and gives all of them",
    "coinbaseexchange": "`/products` takes nothing but `type`; the headers of pages belong to histories",
    "coinsph": "`exchangeInfo` gives all where no symbol is named, and has no parameter for pages",
    "coinspot": "`latest` takes no parameters",
    "btcmarkets": "`/v3/markets` takes no parameters",
    "btctradeua": "`ticker` takes no parameters",
    "btcturk": "`server/exchangeinfo` takes no parameters",
    "cryptocom": "`get-instruments` takes no parameters, and gives all supported instruments",
    "deribit": "`get_instruments` takes `currency`, `kind` and `expired`, and gives all of them",
    "dydx": "`perpetualMarkets` gives all unless `limit` is given, and has no parameter for pages",
    "digifinex": "`spot/symbols` and `public/instruments` have no parameter for pages",
    "foxbit": "`/markets` takes nothing but `category`",
    "fmfwio": "`/public/symbol` gives all where `symbols` is left out, its only parameter",
    "gemini": "`symbols/details/all` takes no parameters",
    "hashkey": "`exchangeInfo` gives all where no symbol is named, and has no parameter for pages",
    "hitbtc": "`/public/symbol` gives all where `symbols` is left out, its only parameter",
    "hollaex": "`constants` takes no parameters",
    "htx": "`common/symbols` and both `swap_contract_info` have parameters that choose, none for pages",
    "hyperliquid": "`allPerpMetas` and `spotMeta` take no parameters",
    "independentreserve": "`GetValidPrimaryCurrencyCodes` takes no parameters",
    "indodax": "`pairs` and `price_increments` take no parameters",
    "itbit": "`markets` takes no parameters",
    "kraken": "`AssetPairs` has parameters that choose, none for pages",
    "krakenfutures": "`instruments` takes no parameters",
    "kucoin": "`symbols` takes nothing but `market`",
    "kucoinfutures": "`contracts/active` takes no parameters, and gives a list of all contracts",
    "lighter": "`orderBookDetails` gives all where no market is named, and has no parameter for pages",
    "latoken": "`ticker` and `pair` take no parameters",
    "luno": "`markets` takes nothing but `pair`",
    "lbank": "`accuracy` takes no parameters, `instrument` nothing but `productGroup`",
    "mercado": "`symbols` takes nothing but `symbols`",
    "mexc": "`exchangeInfo`, `contract/detail` and `contract/funding_rate` give all where no symbol is named",
    "ndax": "`GetInstruments` takes nothing but `OMSId`",
    "p2b": "`markets` takes no parameters",
    "paradex": "`markets` takes nothing but `market`; `next` and `prev` belong to histories",
    "onetrading": "`/instruments` takes nothing but `type`",
    "poloniex": "`markets` and `allInstruments` take no parameters",
    "tokocrypto": "`common/symbols` takes no parameters",
    "upbit": "`market/all` takes nothing but `is_details`",
    "wazirx": "both `exchangeInfo` take no parameters",
    "wavesexchange": "`tickers` takes no parameters",
    "whitebit": "`markets` and `futures` take no parameters",
    "woo": "`instruments` takes nothing but `symbol`; its other lists of records have `page` and `size`",
    "woofipro": "`public/info` takes no parameters",
    "weex": "both `exchangeInfo` give all where no symbol is named, and have no parameter for pages",
    "bullish": "`markets` takes nothing but `marketType`; its pages belong to histories",
    "toobit": "`exchangeInfo` gives all where no symbol is named, and has no parameter for pages",
    "bittrade": "`common/symbols` takes no parameters",
    "btse": "`markets` has parameters that choose, none for pages",
    "deepcoin": "`instruments` and `funding-rate` have no parameter for pages",
    "bydfi": "`exchangeInfo`, `contract/detail` and `contract/funding_rate` give all, as MEXC's do",
    "cryptomus": "`exchange/markets` takes no parameters",
    "revolutx": "`configuration/pairs` takes nothing but `region`",
    "zebpay": "`markets`, both `exchangeInfo` take no parameters",
    "modetrade": "`public/info` takes no parameters",
    "gateeu": "`currency_pairs` takes no parameters",
    "myokx": "`instruments` has no parameter for pages",
    "okxus": "`instruments` has no parameter for pages",
    "yobit": "`info` takes no parameters",
    "zaif": "`currency_pairs/all` takes no parameters",
    "coinmate": "`tradingPairs` takes no parameters",
    "coinone": "`markets` takes nothing but the quote currency, of which there is one",
    "coincheck": "`exchange_status` gives all where `pair` is left out, its only parameter",
    "xt": "`symbol`, `symbol/list` and `cg/contracts` give all without a parameter",
    "apex": "`symbols` takes no parameters",
    "grvt": "`all_instruments` takes nothing but `is_active`",
    "extended": "`info/markets` takes nothing but `market`",
    "pacifica": "`info` takes no parameters",
    "hibachi": "`exchange-info` takes no parameters",
    "nado": "`symbols` takes no parameters",
    "polymarket": "`info/instruments` has no parameter for pages",
}
PAGED_DETAILS = {"phemex"}  # of these, what completes the listing is in pages, and the listing itself is not
FRAMES = Path(__file__).parents[1] / "frames"
CURSORS = {"cursor", "nextcursor", "nextpagecursor", "nextpage", "next", "hasmore", "hasnext", "totalpage"}


@pytest.mark.parametrize("id", PAGED)
def test_a_listing_in_pages_is_followed(id: str) -> None:
    _, body = PAGED[id]
    listing = EXCHANGES[id].listing
    parts = [(request, listing.more) for request in listing.requests] + [(d.request, d.more) for d in listing.details]
    following = [(request, after) for request, more in parts for after in more(request, body)]
    assert any(
        (request.url, request.body) != (after.url, after.body)
        and request.url.partition("?")[0] == after.url.partition("?")[0]
        for request, after in following
    )


def test_of_each_listing_it_is_known_whether_it_pages() -> None:
    asking = {id for id, exchange in EXCHANGES.items() if exchange.listing.requests}
    assert {*PAGED, *ASKED_BY_NAME, *WHOLE} == asking
    assert not set(WHOLE) & {*PAGED, *ASKED_BY_NAME}
    following = {id for id in asking if EXCHANGES[id].listing.more is not no_more}
    assert following == {*PAGED, *ASKED_BY_NAME} - PAGED_DETAILS


def test_names_that_an_answer_lists_are_each_asked_for() -> None:
    for id, (_, body) in ASKED_BY_NAME.items():
        listing = EXCHANGES[id].listing
        following = [after.url for request in listing.requests for after in listing.more(request, body)]
        assert len(following) == len(set(following)) == 2, id


def cursors_of(value: object) -> Iterator[str]:
    """The fields of an answer that look as if they told of a next page."""
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from cursors_of(inner)
    if isinstance(value, dict):
        yield from (name for name, said in value.items() if said and name.replace("_", "").lower() in CURSORS)


@pytest.mark.parametrize("id", sorted(set(IDS) - set(PAGED)))
def test_no_other_listing_tells_of_a_next_page(id: str) -> None:
    cases = [json.loads(line) for line in (FRAMES / f"{id}.jsonl").read_text().splitlines()]
    for case in cases:
        if case.get("rest") == "listing":
            found = [] if "error" in str(case["gives"]) else list(cursors_of(json.loads(case["body"])))
            assert found == [], f"follow them with Listing.more, and name {id} in PAGED: {case.get('about')}"


@pytest.mark.parametrize(("exchange", "stream"), STREAMS)
def test_a_stream_is_well_declared(exchange: Exchange, stream: Stream) -> None:
    assert (stream.parse is None) != (stream.parser is None)
    assert stream.per_connection > 0
    assert stream.batch > 0
    assert stream.pace >= 0
    assert stream.patience > 0
    if stream.heartbeat is not None:
        assert stream.heartbeat.every > 0
    wanted = [Subscription(channel, SYMBOLS[0]) for channel in stream.channels]
    if stream.ticket is None:
        url = stream.url if isinstance(stream.url, str) else stream.url(wanted)
        assert urlsplit(url).scheme == "wss"
        bare = stream.url if isinstance(stream.url, str) else stream.url(())
        assert urlsplit(bare).scheme == "wss", "of no topics: who asks wants to know the host"
    assert all(urlsplit(mirror).scheme == "wss" for mirror in stream.mirrors)
    assert set(stream.sequence) <= set(stream.channels)
    assert set(stream.tells_past) <= set(stream.channels)
    if stream.snapshot is not None:
        assert "book" in stream.channels
        assert (stream.snapshot.request is None) == (stream.snapshot.parse is None)
        assert stream.snapshot.request is not None or stream.snapshot.ask is not None
    if stream.backfill is not None:
        assert "trades" in stream.sequence, "trades without numbers cannot be told from those that are known"
    for channel in set(stream.sequence) - {"book"}:
        assert stream.sequence[channel] in (contiguous, ordered), "trades are counted, or grow; nothing else is judged"


@pytest.mark.parametrize(("exchange", "stream"), STREAMS)
def test_what_a_stream_sends_are_frames_whatever_the_symbol(exchange: Exchange, stream: Stream) -> None:
    channels: tuple[Channel, ...] = tuple(stream.channels)
    for symbol in SYMBOLS:
        for ask in (stream.subscribe, stream.unsubscribe):
            if ask is None:
                continue
            frames = list(ask([Subscription(channel, symbol) for channel in channels], 7))
            assert all(isinstance(frame, bytes) and frame for frame in frames)
            for frame in frames:
                if frame[:1] in b"{[":
                    json.loads(frame)
    for interval in INTERVALS if "candles" in channels else ():
        wanted = Subscription("candles", "1", interval)
        assert all(isinstance(frame, bytes) for frame in stream.subscribe([wanted], 7))
        assert stream.topic is None or stream.topic(wanted)
    one, other = (list(stream.subscribe([Subscription(channels[0], name)], 1)) for name in ("AAA", "BBB"))
    both = list(stream.subscribe([Subscription(channels[0], "AAA"), Subscription(channels[0], "BBB")], 1))
    if one != other:  # else all symbols are asked for as a whole
        said = b"".join(both).lower()
        assert b"aaa" in said
        assert b"bbb" in said


@pytest.mark.parametrize(("exchange", "stream"), STREAMS)
def test_what_cannot_be_read_is_one_gap_and_no_more(exchange: Exchange, stream: Stream) -> None:
    session = Session(exchange.id, stream, conn="test", instruments={})
    for at, frame in enumerate(GARBAGE):
        records = session.receive([frame], Now(at, at))
        assert all(record.exchange == exchange.id for record in records)
    assert session.bad <= len(GARBAGE)


@settings(max_examples=300)
@given(frame=st.binary(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_frame_breaks_a_session(frame: bytes) -> None:
    """Each frame is tried on every stream: to make one takes longer than to have all of them read it."""
    for id, exchange in EXCHANGES.items():
        for stream in exchange.streams:
            session = Session(id, stream, conn="test", instruments={})
            try:
                session.receive([frame], Now(1, 1))
            except Exception as error:
                raise AssertionError(f"{id}/{stream.name}") from error
            assert session.bad in {0, 1}, f"{id}/{stream.name}"


@pytest.mark.parametrize(("exchange", "poll"), POLLS)
def test_a_poll_is_well_declared(exchange: Exchange, poll: Poll) -> None:
    assert poll.channels
    assert poll.every > 0
    assert urlsplit(poll.request("" if poll.many else "BTC-USDT").url).scheme == "https"
    for body in GARBAGE:
        try:
            records = list(poll.parse("BTC-USDT", body))
        except Exception:  # noqa: BLE001, S112 - a polling makes any of them a gap
            continue
        assert records == []


# --- sizes: a connector that is read in one go is one that is right

CONNECTORS = Path(__file__).resolve().parents[2] / "connectors"
MEDIAN, MEMBER, LARGE, LARGEST = 100, 25, 200, 400  # lines
LONG_MEMBERS = {  # member of a family -> why it has more than MEMBER lines
    "whitebit": "its listing and its polls are its own: the protocol says nothing of them",
}
LARGER = {  # exchange or family -> why modules of it have more than LARGE lines
    "ascendex": "a protocol that nobody else speaks, whole: spot, contracts and their listing",
    "binance": "one struct for each of fourteen messages, whose fields stand in the order of the wire",
    "bitfinex": "arrays without names, of which each position is read by a line of its own",
    "bitflyer": "a protocol that nobody else speaks, whole: frames, polls and listing",
    "bybit": "a struct for the rows and one for the frame of each of six channels, and what tells them apart",
    "coinbase": "a struct for the rows and one for the events of each of five channels",
    "btcmarkets": "a protocol that nobody else speaks, whole: frames, polls and listing",
    "bitvavo": "a protocol that nobody else speaks, whole: frames, books by request and listing",
    "coinbaseinternational": "the protocol before Deribit's, whole, with figures, states and candles by parts",
    "cryptocom": "two structs for most of its channels, sixteen in all",
    "deribit": "notifications, answers and heartbeats, and tickers of options with all of their figures",
    "gate": "spot and contracts have a struct for the frame and one for the content of each channel",
    "gemini": "version 2, which is archived and alone has candles, marks, indices and funding",
    "hitbtc": "a struct for each of six messages and one for its frame",
    "htx": "spot and derivatives in one protocol, with books by steps, by changes and by price",
    "independentreserve": "a protocol that nobody else speaks, whole: frames, polls and listing",
    "kraken": "a struct for the rows and one for the frame of each channel",
    "krakenfutures": "eight frames that hold all of their fields",
    "kucoin": "the protocol of spot, that of futures, and the unified one",
    "mexc": "protobuf, and the JSON before it, of which captures are read",
    "okx": "a struct for each of fourteen kinds of rows, and topics with arguments",
    "onetrading": "a protocol that nobody else speaks, whole: frames, requests and listing",
    "phemex": "scaled integers and numbers that are written out have structs of their own",
    "poloniex": "nine channels of futures, of which each has its struct",
    "simulated": "a simulated exchange answers, and builds the frames of its protocol",
    "upbit": "long and short messages, and lists of either, of one protocol",
    "viabtc": "arrays without names, and requests that take the place of those before",
    "woo": "the words of version 3 and those before it, with ten structs and more for each",
}


def sizes() -> dict[str, int]:
    modules = sorted(CONNECTORS.rglob("*.py"))
    assert modules
    return {str(module.relative_to(CONNECTORS)): module.read_text().count("\n") for module in modules}


def package(module: str) -> str:
    """The exchange or the family that a module belongs to."""
    return within(module).split("/")[0].removesuffix(".py")


def within(module: str) -> str:
    """A module's path in the room where it stands: that of families, that of archives, or the first."""
    return module.removeprefix("families/").removeprefix("archive/")


def declaring() -> dict[str, int]:
    """The modules that declare an exchange."""
    return {
        module: lines
        for module, lines in sizes().items()
        if re.search(r"^EXCHANGE = ", (CONNECTORS / module).read_text(), re.MULTILINE)
    }


NAMES = {"wires", "frames", "listing", "rest", "history", "legacy"}


def test_packages_have_the_same_file_names() -> None:
    """Where a package has several of a kind, a word before it tells them apart (`spot_wires`)."""
    found = [
        module
        for module in sizes()
        if "/" in within(module) and package(module) != "simulated" and "__init__" not in module
    ]
    assert len(found) > 40
    odd = [module for module in found if module.rpartition("/")[2].removesuffix(".py").rpartition("_")[2] not in NAMES]
    # Each declares what several exchanges share: futures, and the brokers of one book.
    assert odd == ["families/binance/futures.py", "families/woo/orderly.py"]


def test_half_of_all_connectors_are_short() -> None:
    assert statistics.median(declaring().values()) <= MEDIAN


def test_a_member_of_a_family_is_a_call() -> None:
    found = {}
    for module, lines in declaring().items():
        text = (CONNECTORS / module).read_text()
        calls = re.search(r"^EXCHANGE = (\w+)\.exchange\(", text, re.MULTILINE)
        if calls and re.search(rf"^from connectors\.families[\w.]* import .*\b{calls[1]}\b", text, re.MULTILINE):
            found[module] = lines
    assert len(found) > 10
    assert {m: n for m, n in found.items() if n > MEMBER and package(m) not in LONG_MEMBERS} == {}


def test_a_family_has_several_members() -> None:
    """A protocol that one exchange alone speaks lives in the package of that exchange."""
    families = {package(module) for module in sizes() if module.startswith("families/")} - {"__init__"}
    members: dict[str, set[str]] = {family: set() for family in families}
    for module in sizes():
        if not module.startswith("families/"):
            text = (CONNECTORS / module).read_text()
            for names in re.findall(r"^from connectors\.families(?:\.(\w+)[\w.]*)? import (.*)$", text, re.MULTILINE):
                for family in families & {names[0], *re.findall(r"\w+", names[1])}:
                    members[family].add(package(module))
    assert len(families) > 8
    assert {family: found for family, found in members.items() if len(found) < 2} == {}


def test_what_is_large_says_why() -> None:
    large = {module: lines for module, lines in sizes().items() if lines > LARGE}
    assert {module: lines for module, lines in large.items() if package(module) not in LARGER} == {}, (
        f"above {LARGE} lines: divide it, or say in LARGER why it is one module"
    )
    assert {module: lines for module, lines in large.items() if lines > LARGEST} == {}
    assert {name for name in LARGER if name not in map(package, large)} == set(), "these need no reason any more"


@pytest.mark.parametrize("id", connector_ids())
def test_an_address_that_names_topics_has_its_host_without_any(id: str) -> None:
    """The sandbox asks for the host of every stream before anything is wanted."""
    exchange = load_exchange(id)
    assert exchange is not None
    for stream in exchange.streams:
        if not isinstance(stream.url, str) and stream.ticket is None:
            assert stream.url(()).startswith(("wss://", "ws://"))
