/** Every topic that is known, with search. */

import { useEffect, useState } from "preact/hooks";

import { ask, type TopicList } from "./ask";
import { Badge, Empty, exchangeLink, symbolLink, Table } from "./parts";
import { useShared } from "./state";
import { age, count, parts } from "./words";

const MOST_ROWS = 60;
const EVERY_MS = 2000;

export function Topics() {
  const state = useShared();
  const [wanted, want] = useState("");
  const [told, tell] = useState<TopicList>({ topics: [] });
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const found = state.topics.filter((topic) => {
    const text = topic.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const shown = found.slice(0, MOST_ROWS);
  const query = shown.map((topic) => `topic=${encodeURIComponent(topic)}`).join("&");
  useEffect(() => {
    if (!query) return;
    let isOver = false;
    let timer: ReturnType<typeof setTimeout>;
    const look = async () => {
      try {
        const answer = await ask<TopicList>(`/topics?states=true&${query}`);
        if (!isOver) tell(answer);
      } catch {
        // The status, which is asked for all the while, says what is wrong.
      }
      if (!isOver) timer = setTimeout(look, EVERY_MS);
    };
    void look();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [query]);
  const states = new Map(told.topics.map((topic, i) => [topic, told.states?.[i]]));
  return (
    <>
      <h1>Topics</h1>
      <label class="search">
        Search <input type="search" value={wanted} onInput={(event) => want(event.currentTarget.value)} placeholder="book BTC" />
      </label>
      <p class="note" aria-live="polite">
        {count(found.length)} of {count(state.topics.length)} topics{found.length > MOST_ROWS && `; the first ${MOST_ROWS} are shown, a search finds the others`}. A topic is one channel of one market at one exchange.
      </p>
      {found.length === 0 ? (
        <Empty>No topic has all these words.</Empty>
      ) : (
        <Table caption="Topics" heads={["channel", "exchange", "symbol", "state", "#age", "reason"]}>
          {shown.map((topic) => {
            const { channel, exchange, symbol } = parts(topic);
            const how = states.get(topic);
            return (
              <tr key={topic}>
                <td>{channel}</td>
                <td>
                  <a href={exchangeLink(exchange)}>{exchange}</a>
                </td>
                <th scope="row">
                  <a href={symbolLink(symbol)}>
                    <bdi>{symbol}</bdi>
                  </a>
                </th>
                <td>{how ? <Badge state={how.state} /> : "–"}</td>
                <td class="number">{age(how?.age_ms)}</td>
                <td>{how?.reason}</td>
              </tr>
            );
          })}
        </Table>
      )}
    </>
  );
}
