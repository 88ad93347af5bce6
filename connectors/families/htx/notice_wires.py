"""Funding and liquidations, which come on notification sockets of their own."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.records import (
    Funding,
    Liquidation,
    Record,
    Side,
)
from aggregator.wire import Text, ms, optional, text


class FundingRow(Struct):
    contract_code: str
    funding_rate: Text
    settlement_time: str | int | None = None  # when the rate is exchanged; funding_time is when it was reckoned
    estimated_rate: Text = None  # for the interval after; "null" since the exchange no longer computes it

    def records(self, sent: int) -> Iterable[Record]:
        settles = None if self.settlement_time is None else ms(self.settlement_time)
        if rate := optional(self.funding_rate):
            yield Funding(raw_symbol=self.contract_code, rate=rate, ts_next=settles, ts_sent=sent)
        if self.estimated_rate not in {None, "", "null"}:
            yield Funding(raw_symbol=self.contract_code, rate=text(self.estimated_rate), kind="predicted", ts_sent=sent)


class LiquidationRow(Struct):
    contract_code: str
    direction: Side  # the forced order's
    volume: Text  # contracts
    created_at: int
    price: Text = None
    amount: Text = None  # in the base asset
    trade_turnover: Text = None  # linear contracts only: in the quote asset

    def records(self, sent: int) -> Iterable[Record]:
        yield Liquidation(
            raw_symbol=self.contract_code,
            side=self.direction,
            position="long" if self.direction == "sell" else "short",
            price=optional(self.price),
            price_kind="bankruptcy",
            size=text(self.volume),
            size_unit="contract",
            base_size=optional(self.amount),
            quote_size=optional(self.trade_turnover),
            ts_event=ms(self.created_at),
            ts_sent=sent,
        )


decode_fundings = Decoder(list[FundingRow], float_hook=str).decode
decode_liquidations = Decoder(list[LiquidationRow], float_hook=str).decode
