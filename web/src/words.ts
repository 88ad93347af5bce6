/** How numbers and times are written; what an exchange says is never changed, so prices stay the text that they were. */

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : value.toLocaleString("en-US", { maximumFractionDigits: 0 });
}

export function rate(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  return value >= 100 ? count(value) : value.toFixed(1);
}

export function age(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min`;
  return `${Math.floor(ms / 3_600_000)} h ${Math.floor((ms % 3_600_000) / 60_000)} min`;
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let left = value;
  while (left >= 1000 && unit < units.length - 1) {
    left /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? left : left.toFixed(1)} ${units[unit]}`;
}

export function clock(ms: number): string {
  return new Date(ms).toLocaleTimeString("en-GB");
}

export const DAY_MS = 86_400_000;

/** A time of UTC, as recordings have them. */
export function utc(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ");
}

export function utcDay(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** Nanoseconds, rounded as JavaScript reads them, as milliseconds. */
export function fromNs(ns: number): number {
  return ns / 1e6;
}

/** A difference of two prices with as many decimals as the finer of them has. */
export function difference(high: string, low: string): string {
  const decimals = Math.max(...[high, low].map((text) => text.split(".")[1]?.length ?? 0));
  return (Number(high) - Number(low)).toFixed(Math.min(decimals, 12));
}

export interface Topic {
  channel: string;
  exchange: string;
  symbol: string;
}

export function parts(topic: string): Topic {
  const [channel = "", exchange = "", ...symbol] = topic.split(":");
  return { channel, exchange, symbol: symbol.join(":") };
}
