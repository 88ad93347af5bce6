/** What every page shares: the feed, the status, and how each exchange and its gaps have been since the page was opened. */

import { createContext } from "preact";
import { useContext, useEffect, useReducer, useRef } from "preact/hooks";

import type { AnyRecord, Gap, Health } from "../../docs/records";
import { ask, Refused, type Exchange, type Status } from "./ask";
import { Feed } from "./feed";
import { parts } from "./words";

const POLL_MS = 2000;
const SOON_MS = 250;
const POINTS = 60;
const MOST_GAPS = 2000;
const FINE = ["live", "quiet"];
const TOPICS_MS = 15_000;

/** `up`: everything is fresh; `partly`: something is not; `down`: nothing is; `starting`: nothing is yet. */
export type Standing = "up" | "partly" | "down" | "starting";

export function standing(exchange: Exchange): Standing {
  if (exchange.state === "waiting") return "down";
  if (exchange.state !== "running") return "starting";
  const all = Object.values(exchange.topics).reduce((sum, one) => sum + one, 0);
  const fine = FINE.reduce((sum, state) => sum + (exchange.topics[state] ?? 0), 0);
  if (all === 0) return "starting";
  if (fine === all) return "up";
  if (fine > 0) return "partly";
  return exchange.topics["down"] || exchange.topics["stalled"] ? "down" : "starting";
}

export interface SeenGap {
  exchange: string;
  topic: string;
  cause: string;
  from: number;
  to: number | undefined;
  repair: string | undefined;
}

export class State {
  readonly feed = new Feed(() => this.tell());
  status: Status | undefined;
  /** Why there is no status: it is not for this token, or a replay has none. */
  withheld = "";
  trouble = "";
  needsLogin = false;
  hasLogin = false;
  topics: string[] = [];
  readonly opened = Date.now();
  readonly rates = new Map<string, number[]>();
  readonly latencies = new Map<string, number>();
  readonly gaps = new Map<string, SeenGap>();
  /** What a screen reader is told. */
  news = "";
  /** Patterns of the topics that the page which is shown asks the status of. */
  wanted: string[] = [];
  private readonly listeners = new Set<() => void>();
  private readonly standings = new Map<string, Standing>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isAsking = false;
  private listed = 0;
  private isOn = false;

  listen(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  tell(): void {
    for (const listener of this.listeners) listener();
  }

  async begin(): Promise<void> {
    try {
      await this.list();
    } catch (error) {
      this.fail(error);
      if (!this.needsLogin) setTimeout(() => void this.begin(), POLL_MS);
      return;
    }
    this.needsLogin = false;
    if (!this.isOn) {
      this.isOn = true;
      this.feed.start();
      this.feed.follow(["gap:*:*", "health:*:*", "summary:*:*"], (record) => this.hear(record));
      document.addEventListener("visibilitychange", () => this.soon(0));
    }
    this.soon(0);
  }

  /** Ask for the status before long. */
  soon(pause = SOON_MS): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.poll(), pause);
  }

  private async list(): Promise<void> {
    this.topics = (await ask<{ topics: string[] }>("/topics")).topics;
    this.listed = Date.now();
  }

  private async poll(): Promise<void> {
    if (document.hidden || this.isAsking) return;
    this.isAsking = true;
    try {
      if (Date.now() - this.listed > TOPICS_MS || this.topics.length === 0) await this.list();
      if (!this.withheld) {
        const query = this.wanted.map((topic) => `topic=${encodeURIComponent(topic)}`).join("&");
        this.take(await ask<Status>(`/status${query ? `?${query}` : ""}`));
      }
      this.trouble = "";
    } catch (error) {
      this.fail(error);
    }
    this.isAsking = false;
    this.tell();
    if (!this.needsLogin) this.soon(POLL_MS);
  }

  private fail(error: unknown): void {
    if (error instanceof Refused && error.status === 401) this.needsLogin = true;
    else if (error instanceof Refused && [403, 404].includes(error.status)) this.withheld = error.message;
    else this.trouble = error instanceof Refused ? error.message : "the daemon cannot be reached; trying again";
    this.tell();
  }

  private take(status: Status): void {
    this.status = status;
    const news: string[] = [];
    for (const exchange of status.exchanges) {
      const rates = this.rates.get(exchange.id) ?? [];
      rates.push(exchange.rate);
      if (rates.length > POINTS) rates.shift();
      this.rates.set(exchange.id, rates);
      const now = standing(exchange);
      const before = this.standings.get(exchange.id);
      if (before && before !== now && (now === "down" || before === "down")) news.push(`${exchange.id} is ${now}`);
      this.standings.set(exchange.id, now);
    }
    if (news.length > 0) this.news = news.join(", ");
  }

  private hear(record: AnyRecord): void {
    if (record.type === "gap") this.note(record);
    else if (record.type === "summary" && record.latency_ms !== undefined)
      this.latencies.set(record.exchange, record.latency_ms);
    if (record.type === "gap" || (record.type === "health" && !isDerived(record))) this.soon();
  }

  private note(gap: Gap): void {
    if (isDerived(gap)) return;
    const known = this.gaps.get(gap.gap_id);
    this.gaps.set(gap.gap_id, {
      exchange: gap.exchange,
      topic: `${gap.channel ?? "*"}:${gap.symbol ?? gap.raw_symbol ?? "*"}`,
      cause: gap.cause,
      from: known?.from ?? gap.ts_from,
      to: gap.phase === "close" ? (gap.ts_to ?? gap.ts_recv) : undefined,
      repair: gap.repair,
    });
    if (this.gaps.size > MOST_GAPS) this.gaps.delete(this.gaps.keys().next().value!);
  }

  /** The exchanges that have a market, in the order of their ids. */
  exchangesOf(symbol: string): string[] {
    const all = this.topics.map(parts).filter((topic) => topic.symbol === symbol && topic.channel !== "instruments");
    return [...new Set(all.map((topic) => topic.exchange))].sort();
  }

  has(channel: string, exchange: string, symbol: string): boolean {
    return this.topics.includes(`${channel}:${exchange}:${symbol}`);
  }
}

function isDerived(record: Gap | Health): boolean {
  return record.conn.startsWith("derived/");
}

export const Shared = createContext<State>(undefined as unknown as State);

/** Draw again when the status has come. */
export function useShared(): State {
  const state = useContext(Shared);
  const [, draw] = useReducer((value: number) => value + 1, 0);
  useEffect(() => state.listen(() => draw(undefined as never)), [state]);
  return state;
}

/** Say which topics the status is to tell of while a page is shown. */
export function useWanted(state: State, patterns: string[]): void {
  useEffect(() => {
    state.wanted = patterns;
    state.soon(0);
    return () => {
      state.wanted = [];
    };
  }, [state, patterns.join(" ")]);
}

/** Follow topics while a component is shown; it is drawn again at most `hertz` times a second, in a frame. */
export function useTopics(state: State, topics: string[], hear: (record: AnyRecord) => void, hertz: number): void {
  const [, draw] = useReducer((value: number) => value + 1, 0);
  const latest = useRef(hear);
  latest.current = hear;
  useEffect(() => {
    let last = 0;
    let isDue = false;
    let isOver = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const show = () => {
      isDue = false;
      last = performance.now();
      if (!isOver) draw(undefined as never);
    };
    const leave = state.feed.follow(topics, (record) => {
      latest.current(record);
      if (isDue) return;
      isDue = true;
      timer = setTimeout(() => requestAnimationFrame(show), Math.max(0, last + 1000 / hertz - performance.now()));
    });
    return () => {
      isOver = true;
      clearTimeout(timer);
      leave();
    };
  }, [state, topics.join(" "), hertz]);
}
