/** Markets with their best prices over all exchanges, as the feed's consolidated topics tell them. */

import { useMemo, useRef, useState } from "preact/hooks";

import type { Consolidated } from "../../docs/records";
import { ElsewhereNote, Empty, symbolLink, Table } from "./parts";
import { useShared, useTopics } from "./state";
import { difference, parts } from "./words";

const MOST_LIVE = 20;
const CHANNELS = new Set(["book", "bbo", "trades"]);

export function Markets() {
  const state = useShared();
  const [wanted, want] = useState("");
  const newest = useRef(new Map<string, Consolidated>());
  const ranked = useMemo(() => rank(state.topics), [state.topics]);
  const found = ranked.filter(([symbol]) => symbol.toLowerCase().includes(wanted.toLowerCase()));
  const shown = found.slice(0, MOST_LIVE);
  useTopics(
    state,
    shown.map(([symbol]) => `consolidated.250ms:*:${symbol}`),
    (record) => {
      if (record.type === "consolidated" && record.symbol) newest.current.set(record.symbol, record);
    },
    4,
  );
  return (
    <>
      <h1>Markets</h1>
      <label class="search">
        Search <input type="search" value={wanted} onInput={(event) => want(event.currentTarget.value)} placeholder="BTC/USD" />
      </label>
      {found.length === 0 ? (
        <Empty>No market that is followed has such a name.</Empty>
      ) : (
        <Table caption="Markets" heads={["market", "#best bid", "at", "#best offer", "at", "#spread", "#exchanges"]}>
          {shown.map(([symbol, exchanges]) => {
            const best = newest.current.get(symbol);
            const bid = best?.bid_price;
            const offer = best?.ask_price;
            const spread = bid && offer ? difference(offer, bid) : "–";
            return (
              <tr key={symbol} data-symbol={symbol}>
                <th scope="row">
                  <a href={symbolLink(symbol)}>
                    <bdi>{symbol}</bdi>
                  </a>
                </th>
                <td class="number bid">{bid ?? "–"}</td>
                <td>{best?.bid_exchange}</td>
                <td class="number offer">{offer ?? "–"}</td>
                <td>{best?.ask_exchange}</td>
                <td class={spread.startsWith("-") ? "number warn" : "number"}>{spread}</td>
                <td class="number">{exchanges}</td>
              </tr>
            );
          })}
        </Table>
      )}
      {found.length > 0 && (
        <p class="note">
          The best prices over all exchanges that are followed and fresh. A spread below zero: one exchange bids more than another wants. A name shows books, trades
          and candles.
        </p>
      )}
      <ElsewhereNote exchanges={state.status?.exchanges ?? []} />
      {found.length > MOST_LIVE && <p class="note">{found.length - MOST_LIVE} more: narrow the search.</p>}
    </>
  );
}

/** Markets by how many exchanges have them, the most first. */
function rank(topics: string[]): [string, number][] {
  const exchanges = new Map<string, Set<string>>();
  for (const topic of topics) {
    const { channel, exchange, symbol } = parts(topic);
    if (!CHANNELS.has(channel) || symbol === "") continue;
    const known = exchanges.get(symbol);
    if (known) known.add(exchange);
    else exchanges.set(symbol, new Set([exchange]));
  }
  return [...exchanges]
    .map(([symbol, ids]): [string, number] => [symbol, ids.size])
    .sort(([one, ones], [other, others]) => others - ones || (one < other ? -1 : 1));
}
