// Made by `aggregator docs` from aggregator/records.py: change that, and run it again.
// The records, version 1, as they are in JSON; records.md tells what each field means. Prices are text.
// Nanoseconds are more than a number of JavaScript holds exactly: subscribe with "time": "us", "ms" or "iso".

export interface Trade {
  type: "trade";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  id?: string;
  price: string;
  size: string;
  side?: "buy" | "sell";
  size_unit: "base" | "contract" | "quote";
  base_size?: string;
  quote_size?: string;
  kind: "aggregate" | "auction" | "block" | "liquidation" | "rfq" | "trade";
  first_id?: string;
  last_id?: string;
  count?: number;
}

export interface BookSnapshot {
  type: "book_snapshot";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  bids: [string, string][];
  asks: [string, string][];
  depth?: number;
  reason: "initial" | "periodic" | "request" | "resync";
  checksum?: number;
  bid_floor?: string;
  ask_cap?: string;
}

export interface BookDelta {
  type: "book_delta";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  bids: [string, string][];
  asks: [string, string][];
  checksum?: number;
}

export interface OrdersSnapshot {
  type: "orders_snapshot";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  bids: [string, string, string][];
  asks: [string, string, string][];
  reason: "initial" | "periodic" | "resync";
}

export interface OrdersDelta {
  type: "orders_delta";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  bids: [string, string, string][];
  asks: [string, string, string][];
}

export interface Bbo {
  type: "bbo";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  bid_price?: string;
  bid_size?: string;
  ask_price?: string;
  ask_size?: string;
  origin: "book" | "native";
}

export interface Consolidated {
  type: "consolidated";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  bid_price?: string;
  bid_size?: string;
  bid_exchange?: string;
  ask_price?: string;
  ask_size?: string;
  ask_exchange?: string;
  contributors: ([string, string, number, string | null, string | null, string | null, string | null])[];
  absent: ([string, string, number | null])[];
}

export interface Ticker {
  type: "ticker";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  last?: string;
  open?: string;
  high?: string;
  low?: string;
  base_volume?: string;
  quote_volume?: string;
  vwap?: string;
  change?: string;
  trades?: number;
  window_s?: number;
  contract_volume?: string;
}

export interface Candle {
  type: "candle";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  interval: string;
  ts_open: number;
  ts_close?: number;
  open: string;
  high: string;
  low: string;
  close: string;
  base_volume?: string;
  quote_volume?: string;
  trades?: number;
  closed?: boolean;
  origin: "computed" | "exchange";
  complete?: boolean;
  contract_volume?: string;
}

export interface Funding {
  type: "funding";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  rate: string;
  kind: "current" | "predicted" | "settled";
  interval_s?: number;
  ts_next?: number;
}

export interface OpenInterest {
  type: "open_interest";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  size: string;
  size_unit: "base" | "contract" | "quote";
  base_size?: string;
  quote_value?: string;
}

export interface Liquidation {
  type: "liquidation";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  id?: string;
  side?: "buy" | "sell";
  position?: "long" | "short";
  price?: string;
  price_kind?: "average" | "bankruptcy" | "order" | "trade";
  size: string;
  size_unit: "base" | "contract" | "quote";
  base_size?: string;
  quote_size?: string;
  status?: string;
  sampled: boolean;
}

export interface MarkPrice {
  type: "mark_price";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  price: string;
}

export interface IndexPrice {
  type: "index_price";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  price: string;
  index?: string;
}

export interface OptionSummary {
  type: "option_summary";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  mark_price?: string;
  mark_iv?: string;
  bid_iv?: string;
  ask_iv?: string;
  bid_price?: string;
  bid_size?: string;
  ask_price?: string;
  ask_size?: string;
  delta?: string;
  gamma?: string;
  vega?: string;
  theta?: string;
  rho?: string;
  underlying_price?: string;
  underlying?: string;
  open_interest?: string;
}

export interface Instrument {
  type: "instrument";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset?: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  kind: "future" | "index" | "option" | "perpetual" | "spot";
  base?: string;
  quote?: string;
  settle?: string;
  linear?: boolean;
  contract_size?: string;
  tick_size?: string;
  lot_size?: string;
  min_size?: string;
  max_size?: string;
  min_notional?: string;
  expiry?: number;
  strike?: string;
  option_type?: "call" | "put";
  state: "cancel_only" | "delisted" | "halt" | "maintenance" | "post_only" | "pre_open" | "reduce_only" | "settling" | "trading" | "unknown";
  ts_listed?: number;
  index?: string;
  funding_interval_s?: number;
  funding_offset_s?: number;
  valid_from?: number;
  change: "delist" | "new" | "update";
}

export interface Status {
  type: "status";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  state: "cancel_only" | "delisted" | "halt" | "maintenance" | "post_only" | "pre_open" | "reduce_only" | "settling" | "trading" | "unknown";
  reason?: string;
  origin: "exchange";
}

export interface Gap {
  type: "gap";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  gap_id: string;
  phase: "close" | "open";
  channel: "bbo" | "book" | "candles" | "funding" | "index_price" | "instruments" | "liquidations" | "mark_price" | "open_interest" | "options" | "orders" | "status" | "ticker" | "trades" | null;
  cause: "checksum" | "crossed" | "damaged" | "disconnect" | "expired" | "no_first_frame" | "overflow" | "parse_error" | "paused" | "restart" | "sequence" | "stalled";
  ts_from: number;
  ts_to?: number;
  expected?: number;
  got?: number;
  missed?: number;
  repair?: "full" | "none" | "not_needed" | "partial";
  recovered?: number;
}

export interface Health {
  type: "health";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset?: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  channel: "bbo" | "book" | "candles" | "funding" | "index_price" | "instruments" | "liquidations" | "mark_price" | "open_interest" | "options" | "orders" | "status" | "ticker" | "trades";
  state: "down" | "live" | "quiet" | "stalled" | "subscribing" | "suspect" | "syncing";
  age_ms?: number;
  rate?: number;
  reason?: string;
}

export interface Summary {
  type: "summary";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  ts_from: number;
  bye?: string;
  frames: number;
  bytes: number;
  records: number;
  unread: number;
  gaps_opened: number;
  gaps_closed: number;
  refused: number;
  subscribing: number;
  syncing: number;
  live: number;
  quiet: number;
  stalled: number;
  suspect: number;
  down: number;
  latency_ms?: number;
  latency_max_ms?: number;
  clock_offset_ms?: number;
  pause_ms: number;
  first?: number;
  second?: number;
  behind_ms?: number;
}

export interface Lag {
  type: "lag";
  exchange: string;
  symbol: string | null;
  raw_symbol: string | null;
  ts_event?: number;
  ts_sent?: number;
  ts_recv: number;
  offset: number;
  sequence?: number;
  sequence_first?: number;
  sequence_prev?: number;
  conn: string;
  source: "backfill" | "derived" | "replay" | "rest" | "ws";
  upstream?: [string, number, string];
  flags?: ("backfill" | "bad_ts" | "late" | "snapshot")[];
  missed: number;
  offset_from: number;
  offset_to: number;
}

export type AnyRecord = Trade | BookSnapshot | BookDelta | OrdersSnapshot | OrdersDelta | Bbo | Consolidated | Ticker | Candle | Funding | OpenInterest | Liquidation | MarkPrice | IndexPrice | OptionSummary | Instrument | Status | Gap | Health | Summary | Lag;
