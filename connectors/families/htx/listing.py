"""The instruments: spot in two spellings, linear and inverse contracts."""

from collections.abc import Mapping

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Trouble
from aggregator.records import HOUR_S, Instrument, MarketState
from aggregator.refusals import fields_of, text_of
from aggregator.wire import Text, from_iso, ms, optional, step, text

TOO_MANY = "1032"  # an error of contracts
STATES: dict[str, MarketState] = {
    "online": "trading",
    "pre-online": "pre_open",
    "not-online": "pre_open",
    "suspend": "halt",
    "fuse": "halt",
    "transfer-board": "halt",
    "offline": "delisted",
}
CONTRACT_STATES: dict[int, MarketState] = {
    0: "delisted",
    1: "trading",
    2: "pre_open",
    3: "halt",
    4: "halt",
    5: "settling",
    6: "settling",
    7: "settling",
    8: "delisted",
    9: "halt",
}


class SpotRow(Struct, rename=lambda name: name.replace("_", "-")):
    symbol: str
    base_currency: str
    quote_currency: str
    price_precision: int
    amount_precision: int
    state: str = ""
    min_order_amt: Text = None  # market orders have this minimum too; the next two are for limit orders
    max_order_amt: Text = None
    limit_order_min_order_amt: Text = None
    limit_order_max_order_amt: Text = None
    min_order_value: Text = None


class NewSpotRow(Struct):
    """The same in the words of `/v2/settings/common/symbols`."""

    sc: str
    bc: str
    qc: str
    tpp: int
    tap: int
    state: str = ""
    toa: int | None = None  # when trading opened


class ContractRow(Struct):
    symbol: str
    contract_code: str  # BTC-USDT, BTC-USDT-251226, BTC-USD; BTC251226 of inverse futures
    contract_size: Text
    price_tick: Text
    contract_status: int
    delivery_date: str = ""  # only dated contracts have it; swaps that end have a time of delivery as well
    delivery_time: str = ""
    create_date: str = ""
    settlement_period: str | int | None = None  # hours from one exchange of funding to the next; dated ones have none


class Answer(Struct):
    data: list[Raw]


decode_answer = Decoder(Answer).decode
decode_spot = Decoder(SpotRow, float_hook=str).decode
decode_new_spot = Decoder(NewSpotRow).decode
decode_contract = Decoder(ContractRow, float_hook=str).decode


def read_instrument(row: Raw) -> Instrument:
    body = bytes(row)
    if b'"contract_code"' in body:
        return read_contract(decode_contract(body))
    is_old = b'"base-currency"' in body
    return read_spot(decode_spot(body)) if is_old else read_new_spot(decode_new_spot(body))


def read_spot(s: SpotRow) -> Instrument:
    return Instrument(
        raw_symbol=s.symbol,
        base=s.base_currency.upper(),
        quote=s.quote_currency.upper(),
        tick_size=step(s.price_precision),
        lot_size=step(s.amount_precision),
        min_size=optional(s.limit_order_min_order_amt) or optional(s.min_order_amt),
        max_size=optional(s.limit_order_max_order_amt) or optional(s.max_order_amt),
        min_notional=optional(s.min_order_value),
        state=STATES.get(s.state, "unknown"),
    )


def read_new_spot(s: NewSpotRow) -> Instrument:
    return Instrument(
        raw_symbol=s.sc,
        base=s.bc.upper(),
        quote=s.qc.upper(),
        tick_size=step(s.tpp),
        lot_size=step(s.tap),
        state=STATES.get(s.state, "unknown"),
        ts_listed=None if s.toa is None else ms(s.toa),
    )


def read_contract(c: ContractRow) -> Instrument:
    base, quote = c.symbol.upper(), c.contract_code.split("-")[1] if "-" in c.contract_code else "USD"
    linear = quote != "USD"
    day = c.create_date
    is_dated = bool(c.delivery_date)
    hours = None if is_dated else c.settlement_period
    return Instrument(
        raw_symbol=c.contract_code,
        kind="future" if is_dated else "perpetual",
        base=base,
        quote=quote,
        settle=quote if linear else base,
        linear=linear,
        contract_size=text(c.contract_size),
        tick_size=text(c.price_tick),
        lot_size="1",
        min_size="1",
        expiry=ms(c.delivery_time) if is_dated and c.delivery_time else None,
        funding_interval_s=(int(hours) * HOUR_S or None) if hours else None,
        state=CONTRACT_STATES.get(c.contract_status, "unknown"),
        ts_listed=from_iso(f"{day[:4]}-{day[4:6]}-{day[6:]}T00:00:00") if day else None,
    )


def trouble(_: int, __: Mapping[str, str], body: bytes) -> Trouble | None:
    """Errors come with HTTP 200; spot and contracts spell their fields differently."""
    said = fields_of(body)
    if text_of(said.get("status")) != "error":
        return None
    code, words = (text_of(said.get(f"err-{name}") or said.get(f"err_{name}")) or "" for name in ("code", "msg"))
    return Trouble(f"{code}: {words}", is_busy="too-many" in code or code == TOO_MANY)
