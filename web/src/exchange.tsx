/** One exchange: its connections, topics, gaps and drift. */

import { useState } from "preact/hooks";

import type { TopicState } from "./ask";
import { Badge, Elsewhere, Empty, symbolLink, Table, Tile } from "./parts";
import { standing, useShared, useWanted, type SeenGap } from "./state";
import { age, bytes, clock, count, fromNs, rate } from "./words";

const MOST_ROWS = 200;
const SPAN_MS = 10 * 60_000;
const MOST_LANES = 12;

export function ExchangePage({ id }: { id: string }) {
  const state = useShared();
  useWanted(state, [`*:${id}:*`]);
  const [wanted, want] = useState("");
  const exchange = state.status?.exchanges.find((one) => one.id === id);
  if (state.withheld) return <Empty>There is no status to show: {state.withheld}.</Empty>;
  if (!state.status) return <Empty>Waiting for the status…</Empty>;
  if (!exchange) return <Empty>This daemon does not follow {id}. The overview names those that it follows.</Empty>;
  const topics = state.status.topics.filter((topic) => topic.exchange === id);
  const found = topics.filter((topic) => name(topic).toLowerCase().includes(wanted.toLowerCase()));
  const connections = exchange.shards.flatMap((shard) => shard.connections.map((connection) => ({ shard, connection })));
  return (
    <>
      <h1>
        <bdi>{id}</bdi> <Badge state={standing(exchange)} />
      </h1>
      {exchange.elsewhere.length > 0 && (
        <p class="note">
          <Elsewhere exchange={exchange} />: it is reached at {exchange.elsewhere.join(", ")}, as the configuration says.
        </p>
      )}
      {exchange.trouble && <p class="trouble">{exchange.trouble}</p>}
      <dl class="tiles">
        <Tile name="records a second">{rate(exchange.rate)}</Tile>
        <Tile name="records">{count(exchange.records)}</Tile>
        <Tile name="last record">{age(exchange.age_ms)}</Tile>
        <Tile name="lag">{age(state.latencies.get(id))}</Tile>
        <Tile name="open gaps">{exchange.gaps}</Tile>
        {Object.entries(exchange.topics).map(([which, number]) => (
          <Tile key={which} name={`topics ${which}`}>
            {count(number)}
          </Tile>
        ))}
      </dl>
      <h2>Connections</h2>
      <Table caption="Connections" heads={["connection", "state", "#age", "#topics", "#frames", "#bytes", "#unread", "#refused", "last trouble"]}>
        {connections.map(({ shard, connection }) => (
          <tr key={connection.conn}>
            <th scope="row">{connection.conn}</th>
            <td>
              <Badge state={connection.is_open ? "up" : "connecting"} />
            </td>
            <td class="number">{age(connection.age_s * 1000)}</td>
            <td class="number">{count(shard.topics)}</td>
            <td class="number">{count(connection.session.frames)}</td>
            <td class="number">{bytes(connection.session.bytes)}</td>
            <td class={connection.session.unread ? "number warn" : "number"}>{count(connection.session.unread)}</td>
            <td class={connection.session.refused ? "number warn" : "number"}>{count(connection.session.refused)}</td>
            <td class="long">{connection.session.reconnect_reason ?? shard.trouble}</td>
          </tr>
        ))}
        {exchange.polls.map((poll) => (
          <tr key={poll.name}>
            <th scope="row">{poll.name}</th>
            <td>
              <Badge state={poll.silent ? "partly" : "up"} />
            </td>
            <td class="number">every {poll.every_s} s</td>
            <td class="number">{count(poll.topics)}</td>
            <td class="number" colSpan={4}></td>
            <td>{poll.silent ? `${poll.silent} had no answer` : ""}</td>
          </tr>
        ))}
      </Table>
      <h2>Gaps</h2>
      <TimeLine gaps={gapsOf([...state.gaps.values()], topics, id)} opened={state.opened} />
      <h2>Channels</h2>
      <Table caption="Channels" heads={["channel", "topics", "#records/s", "#age", "open gaps"]}>
        {exchange.channels.map((channel) => (
          <tr key={channel.channel}>
            <th scope="row">{channel.channel}</th>
            <td>{told(channel.topics)}</td>
            <td class="number">{rate(channel.rate)}</td>
            <td class="number">{age(channel.age_ms)}</td>
            <td>{told(channel.gaps) || "none"}</td>
          </tr>
        ))}
      </Table>
      <h2>Topics</h2>
      <label class="search">
        Search <input type="search" value={wanted} onInput={(event) => want(event.currentTarget.value)} placeholder="BTC" />
      </label>
      <Table caption="Topics" heads={["topic", "state", "#records/s", "#age", "#records", "gap", "reason"]}>
        {found.slice(0, MOST_ROWS).map((topic) => (
          <tr key={name(topic)}>
            <th scope="row">
              {topic.channel}:{topic.symbol ? <a href={symbolLink(topic.symbol)}>{topic.symbol}</a> : topic.raw_symbol ?? "*"}
            </th>
            <td>
              <Badge state={topic.state} />
            </td>
            <td class="number">{rate(topic.rate)}</td>
            <td class="number">{age(topic.age_ms)}</td>
            <td class="number">{count(topic.records)}</td>
            <td class={topic.gap ? "warn" : ""}>{topic.gap}</td>
            <td>{topic.reason}</td>
          </tr>
        ))}
      </Table>
      {found.length > MOST_ROWS && <p class="note">{count(found.length - MOST_ROWS)} more: narrow the search.</p>}
      <h2>Drift</h2>
      <p class="note">Whether the fields of its messages are those that they have always had: a field that is gone is a number that is missing.</p>
      {!exchange.drift || exchange.drift.findings.length === 0 ? (
        <Empty>It sends what it has always sent{exchange.drift ? `: ${exchange.drift.kinds} kinds of frames are known` : ""}.</Empty>
      ) : (
        <Table caption="Differences from what it has always sent" heads={["what", "kind", "field", "#frames", "latest", "example"]}>
          {exchange.drift.findings.map((finding, i) => (
            <tr key={i}>
              <th scope="row">{finding.what}</th>
              <td>{finding.kind}</td>
              <td>{finding.field}</td>
              <td class="number">{count(finding.count)}</td>
              <td>{clock(fromNs(finding.latest))}</td>
              <td>
                <code class="example">{finding.example.slice(0, 300)}</code> {finding.reason}
              </td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}

function name(topic: TopicState): string {
  return `${topic.channel}:${topic.symbol ?? topic.raw_symbol ?? "*"}`;
}

function told(counts: Record<string, number>): string {
  return Object.entries(counts)
    .map(([which, number]) => `${number} ${which}`)
    .join(", ");
}

/** The gaps that were told since the page was opened, and those that were open before. */
function gapsOf(seen: SeenGap[], topics: TopicState[], id: string): SeenGap[] {
  const ours = seen.filter((gap) => gap.exchange === id);
  const open = new Set(ours.filter((gap) => gap.to === undefined).map((gap) => gap.topic));
  const older = topics
    .filter((topic) => topic.gap && topic.gap_since !== null && !open.has(name(topic)))
    .map((topic) => ({ exchange: id, topic: name(topic), cause: topic.gap!, from: fromNs(topic.gap_since!), to: undefined, repair: undefined }));
  return [...ours, ...older];
}

function TimeLine({ gaps, opened }: { gaps: SeenGap[]; opened: number }) {
  const now = Date.now();
  const start = now - SPAN_MS;
  const shown = gaps.filter((gap) => (gap.to ?? now) >= start);
  const lanes = [...new Set(shown.map((gap) => gap.topic))].sort();
  if (shown.length === 0) return <Empty>No gap {opened > start ? `since this page was opened at ${clock(opened)}` : "in the last ten minutes"}.</Empty>;
  const height = 18;
  const drawn = lanes.slice(0, MOST_LANES);
  const at = (ms: number) => Math.max(0, Math.min(1000, ((ms - start) / SPAN_MS) * 1000));
  const label = `${shown.length} gaps in the last ten minutes, ${shown.filter((gap) => gap.to === undefined).length} of them open`;
  return (
    <figure class="timeline">
      <div class="lanes">
        <ol class="names" aria-hidden="true">
          {drawn.map((lane) => (
            <li key={lane}>{lane}</li>
          ))}
        </ol>
        <svg viewBox={`0 0 1000 ${drawn.length * height}`} preserveAspectRatio="none" height={drawn.length * height} role="img" aria-label={label}>
          {opened > start && <line class="opened" x1={at(opened)} x2={at(opened)} y1={0} y2={drawn.length * height} />}
          {shown.map((gap, i) => {
            const lane = drawn.indexOf(gap.topic);
            if (lane < 0) return null;
            const x = at(gap.from);
            return (
              <rect key={i} class={gap.to === undefined ? "open" : "closed"} x={x} y={lane * height + 3} width={Math.max(3, at(gap.to ?? now) - x)} height={height - 6}>
                <title>
                  {gap.topic}: {gap.cause}, {clock(gap.from)} to {gap.to === undefined ? "now" : clock(gap.to)}
                </title>
              </rect>
            );
          })}
        </svg>
      </div>
      <figcaption>
        {label}
        {lanes.length > MOST_LANES && `; ${lanes.length - MOST_LANES} more topics are not drawn`}. {clock(start)} to {clock(now)}.
      </figcaption>
      <details>
        <summary>As a list</summary>
        <ul>
          {shown
            .slice(-100)
            .reverse()
            .map((gap, i) => (
              <li key={i}>
                {clock(gap.from)} to {gap.to === undefined ? "now" : clock(gap.to)}: {gap.topic}, {gap.cause}
                {gap.repair && `, repair: ${gap.repair}`}
              </li>
            ))}
        </ul>
      </details>
    </figure>
  );
}
