"""What batches hold for tables, and the settings of sinks that write them. Real servers are in tests/servers."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.bus.bus import Batch
from aggregator.config.config import load_config
from aggregator.errors import ConfigError
from aggregator.records import Bbo, BookDelta, Candle, Consolidated, Record, Trade
from aggregator.sinks import registry
from aggregator.sinks.databases.influx import Lines, time_of
from aggregator.sinks.databases.rows import misfitting, parts_of, values_of
from aggregator.sinks.values import quote
from aggregator.tables.columns import WIDE, columns


def batch(*records: Record) -> Batch:
    for offset, record in enumerate(records, 1):
        record.offset = offset
    return Batch(list(records), "e")


def trade(price: str = "1", sequence: int | None = None, base_size: str | None = None) -> Trade:
    return Trade(exchange="x", symbol="A/B", price=price, size="2", sequence=sequence, base_size=base_size)


def test_a_part_has_the_records_of_one_type_in_their_order() -> None:
    mixed = batch(trade(), Bbo(exchange="x"), trade(), Bbo(exchange="y"))
    found = parts_of(mixed, frozenset({3}))
    assert [(part.record, part.which) for part in found] == [(Trade, [0, 2]), (Bbo, [1])]
    assert [record.offset for record in found[0].records] == [1, 3]


def test_values_stand_in_the_order_of_the_columns() -> None:
    (part,) = parts_of(batch(trade("1.50", 7), Trade(price="2", size="3", flags=("late",), upstream=("e", 1, "b/c"))))
    held, misfits = values_of(part)
    found = dict(zip([column.name for column in columns(Trade)], held, strict=True))
    assert found["epoch"] == ["e", "e"]
    assert found["price"] == ["1.50", "2"]
    assert found["sequence"] == [7, None]
    assert found["flags"] == [[], ["late"]]
    assert found["upstream"] == [None, '["e",1,"b/c"]']
    assert misfits == [None, None]


def test_an_integer_of_more_than_64_bits_stands_in_misfits() -> None:
    (part,) = parts_of(batch(trade(sequence=2**63), trade(sequence=2**63 - 1), trade(sequence=-(2**63))))
    held, misfits = values_of(part)
    assert held[[column.name for column in columns(Trade)].index("sequence")] == [None, 2**63 - 1, -(2**63)]
    assert misfits == ['{"sequence":9223372036854775808}', None, None]
    rows = Consolidated(contributors=[("x", "live", 2**63, None, None, None, None)], absent=[("y", "old", None)])
    (part,) = parts_of(batch(rows))
    held, misfits = values_of(part)
    assert [("x", "live", None, None, None, None, None)] in [values[0] for values in held]
    assert misfits == ['{"contributors":[["x","live",9223372036854775808,null,null,null,null]]}']
    assert rows.contributors[0][2] == 2**63, "every sink has the same records"


def test_a_number_without_room_is_found_with_its_reason() -> None:
    texts = ("0.1234567890123456789", "1e5", "-12345678901234567890.5", "1.000000000000000000000", "1" * 21, "\u0661")
    levels = BookDelta(bids=[("0.1234567890123456789", "1")], asks=[])
    found = misfitting(batch(*map(trade, texts), levels, trade(base_size="")), WIDE)
    assert sorted(found) == [0, 1, 4, 5, 7]
    assert found[0] == "price '0.1234567890123456789' has no room in 20 digits and 18 behind the point, or is no number"
    assert found[7].startswith("base_size ''")


def test_points_have_their_numbers_as_they_are_and_no_null() -> None:
    lines, refused = Lines(), dict[int, str]()
    names: dict[str, Any] = {"exchange": "x", "raw_symbol": "AB", "ts_recv": 1_795_000_000_000_001_777}
    prices = ("1.50", "-0.001", "9" * 400, ".5", "0" * 301, "1_0", None)
    points = [Bbo(**names, symbol="A/B", bid_price=price, ask_price="2") for price in prices]
    (part,) = parts_of(batch(*points))
    told = lines.of(part, refused)
    assert refused == {at: f"bid_price {quote(prices[at] or '')} is no number that a double holds" for at in (2, 5)}
    begin = "bbo,exchange=x,symbol=A/B,origin=native"
    assert told == [
        f"{begin} offset={offset}i{bid},ask_price=2 1795000000000001{offset:03}"
        for offset, bid in [(1, ",bid_price=1.50"), (2, ",bid_price=-0.001"), (4, ",bid_price=0.5"),
                            (5, ",bid_price=0.0"), (7, "")]
    ]  # fmt: skip
    candle = Candle(**names, symbol=None, interval="1m", ts_open=7, open="1", high="2", low="1", close="2", closed=True)
    (part,) = parts_of(batch(candle, candle))
    begin = "candle,exchange=x,symbol=AB,interval=1m,origin=exchange"
    told = lines.of(part, {})
    assert told == [f"{begin} offset=2i,ts_open=7i,open=1,high=2,low=1,close=2,closed=true 7"] * 2


EXCHANGE = '[[exchanges]]\nid = "kraken"\nchannels = ["trades"]\nsymbols = ["BTC/USD"]\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('type = "postgres"\nhost = "h"\nca = "/x"', "write `tls = true` beside them"),
        ('type = "postgres"\nhost = "h"\ntls = true\nkey = "/x"', "needs a certificate"),
        ('type = "postgres"\nhost = "h"\nschema_name = "a.b"', "schema_name"),
        ('type = "postgres"\nhost = "h"\nchunk = "1s"', "chunk"),
        ('type = "clickhouse"\nurl = "tcp://h"', 'write "http://127.0.0.1:8123", or "https://…" for TLS'),
        ('type = "clickhouse"\nurl = "http://me:secret@h"', "write user and password as keys of their own"),
        ('type = "clickhouse"\nurl = "http://h"\nca = "/x"', "write https:// in `url`"),
        ('type = "influx"\nurl = "http://h?db=x"', 'write "http://127.0.0.1:8086", or "https://…" for TLS'),
        ('type = "influx"\nurl = "http://h"\ntoken = "env:X"', "v1 knows no token"),
        ('type = "influx"\nurl = "http://h"\ndialect = "v2"\nuser = "x"', "v2 knows no user"),
        ('type = "questdb"\nurl = "http://h/x"', 'write "http://127.0.0.1:9000", or "https://…" for TLS'),
        ('type = "questdb"\nurl = "http://h"\nca = "/x"', "write https:// in `url`"),
        *(
            (f'type = "{type}"\nurl = "http://me:the password@{host}"', "names who logs in")
            for type in ("clickhouse", "influx", "questdb")
            for host in ("h", "h:99999", "[h")
        ),
        ('type = "postgres"\nhost = "h"\npassword = "the password"', "must say where the key is, not hold it"),
    ],
)
def test_a_setting_that_cannot_be_is_named(
    tmp_path: Path, text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda _: True)  # its client library need not be here
    path = tmp_path / "a.toml"
    path.write_text(f"{EXCHANGE}[[sinks]]\n{text}\n")
    with pytest.raises(ConfigError) as error:
        load_config(path, known_channels=lambda _: ("trades",))
    assert words in str(error.value)
    assert "the password" not in str(error.value)


@given(st.integers(0, 2**62), st.lists(st.integers(0, 999), unique=True, min_size=2, max_size=2))
def test_no_two_points_of_a_moment_share_a_time_and_a_time_is_right_to_the_microsecond(
    ns: int, offsets: list[int]
) -> None:
    times = {time_of(ns, offset) for offset in offsets}
    assert len(times) == 2
    assert {time // 1000 for time in times} == {ns // 1000}
