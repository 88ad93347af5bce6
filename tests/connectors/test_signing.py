"""How requests are signed, held against what other programs make of the same keys."""

import json

from aggregator.exchange import Credentials, Request
from connectors import alpaca, coinbaseexchange, coinmarketcap
from connectors.mudrex import listing as mudrex

NOW = 1_795_168_800_999_999_999


def test_coinbase_exchange_signs_the_second_and_a_path() -> None:
    """The signature is openssl's, of the documentation's message."""
    keys = Credentials(
        {
            "key": "k",
            "passphrase": 'p"',
            "secret": "YSBzZWNyZXQgb2Ygc2l4dHktZm91ciBieXRlcywgd2hpY2ggdGhlIGV4Y2hhbmdlIGdpdmVzIGluIGJhc2U2NC4=",
        }
    )
    frame = b'{"type":"subscribe","product_ids":["BTC-USD"],"channels":["level2"]}'
    assert json.loads(coinbaseexchange.signed(keys, NOW, frame)) == {
        "type": "subscribe",
        "product_ids": ["BTC-USD"],
        "channels": ["level2"],
        "key": "k",
        "passphrase": 'p"',
        "timestamp": "1795168800",
        "signature": "lmy68ISHUZc98ATO/5Sgx4P8qTF5TSbCULyl2jjOK5k=",
    }


def test_alpaca_takes_both_keys_in_its_first_frame_and_in_headers() -> None:
    keys = Credentials({"key": "k", "secret": 's"'})
    assert json.loads(alpaca.log_in(keys, NOW, b"")) == {"action": "auth", "key": "k", "secret": 's"'}
    signed = alpaca.with_keys(keys, NOW, Request("https://api.alpaca.markets/v2/assets"))
    assert signed.headers == {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": 's"'}


def test_coinmarketcap_takes_its_key_in_a_header() -> None:
    signed = coinmarketcap.with_key(Credentials({"key": "k"}), NOW, Request("https://pro-api.coinmarketcap.com/x"))
    assert (signed.url, signed.headers) == ("https://pro-api.coinmarketcap.com/x", {"X-CMC_PRO_API_KEY": "k"})


def test_mudrex_takes_the_secret_in_a_header() -> None:
    signed = mudrex.with_key(Credentials({"secret": "s"}), NOW, mudrex.assets(100))
    assert (signed.url, signed.headers) == (f"{mudrex.API}/futures?offset=100&limit=100", {"X-Authentication": "s"})
