/** Single questions to the daemon, and the shapes of its answers as far as the page reads them (docs/status.md). */

export class Refused extends Error {
  constructor(
    readonly status: number,
    words: string,
  ) {
    super(words);
  }
}

export interface Connection {
  conn: string;
  is_open: boolean;
  age_s: number;
  held: number;
  fetching: number;
  session: { frames: number; bytes: number; unread: number; refused: number; reconnect_reason: string | null };
}

export interface Shard {
  name: string;
  topics: number;
  attempts: number;
  failures: number;
  trouble: string | null;
  connections: Connection[];
}

export interface Finding {
  what: string;
  kind: string;
  field: string | null;
  latest: number;
  count: number;
  example: string;
  reason: string | null;
}

export interface Exchange {
  id: string;
  state: string;
  trouble: string | null;
  topics: Record<string, number>;
  gaps: number;
  rate: number;
  records: number;
  age_ms: number | null;
  shards: Shard[];
  polls: { name: string; topics: number; every_s: number; silent: number }[];
  channels: { channel: string; topics: Record<string, number>; gaps: Record<string, number>; rate: number; age_ms: number | null }[];
  /** Hosts in the place of the exchange's own. */
  elsewhere: string[];
  drift: { kinds: number; counts: Record<string, number>; findings: Finding[] } | null;
}

export interface Sink {
  name: string;
  type: string;
  state: string;
  failing: string | null;
  written: number;
  refused: number;
  dropped: number;
  held: number;
}

export interface Client {
  peer: string;
  topics: string[];
  queued: number;
  lags: number;
  missed: number;
}

export interface TopicState {
  exchange: string;
  channel: string;
  symbol: string | null;
  raw_symbol: string | null;
  state: string;
  reason: string | null;
  age_ms: number | null;
  rate: number | null;
  conn: string | null;
  gap: string | null;
  gap_since: number | null;
  records: number;
}

export interface Status {
  ts: number;
  process: { version: string; uptime_s: number; lag_ms: number; lag_max_ms: number; memory_bytes: number | null };
  bus: { offset: number; instruments: number };
  exchanges: Exchange[];
  sources: { name: string; state: string; trouble: string | null; records: number; age_ms: number | null }[];
  sinks: Sink[];
  feeds: { listen: string[]; subscribers: Client[]; accepted: number }[];
  journal: { path: string; bytes: number; failing: string | null } | null;
  topics: TopicState[];
  left_out: number;
}

export interface TopicList {
  topics: string[];
  states?: ({ state: string; age_ms: number | null; reason: string | null } | null)[];
}

export interface Known {
  id: string;
  name: string;
  zh_name?: string;
  countries?: string[];
  home: string;
  status: string;
  closed?: string;
  successor?: string;
  transport?: string;
  keys?: string;
  archives?: { channels: string[]; until?: string }[];
  read_as?: string;
}

export interface Catalogue {
  exchanges: Known[];
  countries: Record<string, { en: string; zh: string }>;
  words: Record<Language, CatalogueWords>;
}

/** A recording that the daemon makes. */
export interface Recording {
  name: string;
  type: string;
  path: string;
}

export interface CoverageGap {
  cause: string;
  ts_from: number;
  ts_to: number | null;
  repair: string | null;
  missed: number | null;
  is_mended: boolean;
}

/** One topic on one day, as `aggregator coverage --json --brief` has it. */
export interface CoverageDay {
  day: string;
  exchange: string;
  channel: string;
  symbol: string | null;
  raw_symbol: string | null;
  followed_ns: number;
  covered_ns: number;
  percent: number | null;
  records: number;
  numbers: string;
  missing: number;
  untold: number;
  gaps: CoverageGap[];
  gaps_left_out: number;
}

export interface CoverageReport {
  ts_from: number | null;
  ts_to: number | null;
  days: CoverageDay[];
  unreadable: string[];
  remarks: string[];
}

export type Language = "en" | "zh";

export interface CatalogueWords {
  title: string;
  count: string;
  columns: string[];
  nowhere: string;
  connector: string;
  connector_with_keys: string;
  captures: string;
  no_captures: string;
  statuses: Record<string, string>;
  transports: Record<string, string>;
}

/** Ask for an object. Throws Refused with the daemon's words, and TypeError where it cannot be reached. */
export async function ask<T>(path: string, init?: RequestInit): Promise<T> {
  const answer = await fetch(path, { credentials: "same-origin", ...init });
  const body: unknown = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, (body as { error?: string }).error ?? answer.statusText);
  return body as T;
}

export function login(token: string): Promise<unknown> {
  const headers = { "Content-Type": "application/json" };
  return ask("/login", { method: "POST", headers, body: JSON.stringify({ token }) });
}
