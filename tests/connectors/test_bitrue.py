"""Bitrue: its contracts have a name on the socket that is not the listing's."""

import json

from aggregator.exchange import Stream, Subscription
from aggregator.records import BookSnapshot, Instrument
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.bitrue import EXCHANGE

AT = 1_790_000_000_000_000_000
NAMES = {"E-BTC-USDT": True, "E-BTC-USD": False}
CONTRACTS = {
    name: Instrument(raw_symbol=name, kind="perpetual", base="BTC", linear=linear) for name, linear in NAMES.items()
}


def stream(name: str) -> Stream:
    return next(stream for stream in EXCHANGE.streams if stream.name == name)


def test_a_contract_is_asked_for_by_the_sockets_name_and_told_by_the_listings() -> None:
    asked = [Subscription("book", name) for name in CONTRACTS]
    session = Session("bitrue", stream("contract"), conn="test", instruments=CONTRACTS, subscriptions=asked)
    session.open(Now(AT, AT))
    channels = [json.loads(frame)["params"]["channel"] for frame in session.outbox]
    assert channels == ["market_e_btcusdt_depth_step0", "market_e_btcusd_depth_step0"]
    frames = [
        b'{"channel":"%b","tick":{"buys":[[64010.1,15]],"asks":[[64010.2,7]]},"ts":1790000000000,"status":"ok"}'
        % channel.encode()
        for channel in channels
    ]
    records = session.receive(frames, Now(AT, AT))
    assert [r.raw_symbol for r in records if isinstance(r, BookSnapshot)] == list(CONTRACTS)


def test_a_pair_is_asked_for_in_small_letters() -> None:
    (frame,) = stream("spot").subscribe([Subscription("book", "BTCUSDT")], 1)
    assert json.loads(frame)["params"] == {"channel": "market_btcusdt_simple_depth_step0", "cb_id": "btcusdt"}


def test_indices_of_inverse_contracts_are_asked_of_their_own_interface() -> None:
    poll = next(poll for poll in EXCHANGE.polls if poll.name == "index")
    urls = [poll.request(name).url for name in CONTRACTS]
    assert urls == [
        "https://fapi.bitrue.com/fapi/v1/index?contractName=E-BTC-USDT",
        "https://fapi.bitrue.com/dapi/v1/index?contractName=E-BTC-USD",
    ]
