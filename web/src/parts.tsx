/** Small pieces that several pages draw with. */

import type { ComponentChildren } from "preact";

import type { Exchange } from "./ask";
import type { Standing } from "./state";

const MARKS: Record<string, string> = { up: "●", live: "●", running: "●", quiet: "●", partly: "◐", down: "✕", stalled: "✕" };

/** A state, told by a sign and a word besides its colour. */
export function Badge({ state, title }: { state: Standing | string; title?: string | undefined }) {
  return (
    <span class={`badge ${kind(state)}`} title={title}>
      <span aria-hidden="true">{MARKS[state] ?? "○"}</span> {state}
    </span>
  );
}

/** A word where it is not the exchange itself that is listened to. */
export function Elsewhere({ exchange }: { exchange: Exchange }) {
  if (exchange.elsewhere.length === 0) return null;
  return (
    <small class="warn" title={`It is reached at ${exchange.elsewhere.join(", ")}`}>
      not its own address
    </small>
  );
}

/** Whose prices are not the exchange's own, among those that a part shows. */
export function ElsewhereNote({ exchanges }: { exchanges: Exchange[] }) {
  const found = exchanges.filter((exchange) => exchange.elsewhere.length > 0).map((exchange) => exchange.id);
  if (found.length === 0) return null;
  return (
    <p class="note">
      <span class="warn">Not their own addresses</span>: {found.join(", ")}. What they say here is a simulation, a playback or a relay.
    </p>
  );
}

function kind(state: string): string {
  if (["up", "live", "quiet", "running", "trading"].includes(state)) return "good";
  if (["down", "stalled", "waiting", "refused", "absent", "ended"].includes(state)) return "bad";
  return "doubtful";
}

/** The newest values as a line; the last one is said in the column beside it. */
export function Sparkline({ values, label }: { values: readonly number[]; label: string }) {
  const width = 120;
  const height = 24;
  const most = Math.max(...values, 1e-9);
  const step = width / 59;
  const first = 60 - values.length;
  const points = values.map((value, i) => `${((first + i) * step).toFixed(1)},${(height - 2 - (value / most) * (height - 4)).toFixed(1)}`);
  return (
    <svg class="sparkline" viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label}>
      <polyline points={points.join(" ")} />
    </svg>
  );
}

/** A table that scrolls by itself where it is wider than the screen. */
export function Table({ caption, heads, children }: { caption: string; heads: string[]; children: ComponentChildren }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={caption}>
      <table>
        <caption class="unseen">{caption}</caption>
        <thead>
          <tr>
            {heads.map((head, i) => (
              <th key={i} scope="col" class={head.startsWith("#") ? "number" : ""}>
                {head.replace("#", "")}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

export function Tile({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="tile">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

export function symbolLink(symbol: string): string {
  return `#/symbol/${encodeURIComponent(symbol)}`;
}

export function exchangeLink(id: string): string {
  return `#/exchange/${encodeURIComponent(id)}`;
}
