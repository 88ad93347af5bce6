/** All exchanges, sinks and clients at a glance. */

import { Badge, Elsewhere, Empty, exchangeLink, Sparkline, Table, Tile } from "./parts";
import { standing, useShared } from "./state";
import { age, bytes, count, rate } from "./words";

export function Overview() {
  const state = useShared();
  const status = state.status;
  if (state.withheld) return <Empty>There is no status to show: {state.withheld}. Markets and topics are there.</Empty>;
  if (!status) return <Empty>Waiting for the status…</Empty>;
  const subscribers = status.feeds.flatMap((feed) => feed.subscribers);
  const total = status.exchanges.reduce((sum, exchange) => sum + exchange.rate, 0);
  const up = status.exchanges.filter((exchange) => standing(exchange) === "up").length;
  return (
    <>
      <h1>Overview</h1>
      <p class="note">
        This program gathers public market data of crypto exchanges, and says of each whether what it tells can be trusted just now. A name leads on;{" "}
        <a href="#/help">help</a> has the words.
      </p>
      <dl class="tiles">
        <Tile name="exchanges up">
          {up} of {status.exchanges.length}
        </Tile>
        <Tile name="records a second">{rate(total)}</Tile>
        <Tile name="records in all">{count(status.bus.offset)}</Tile>
        <Tile name="instruments">{count(status.bus.instruments)}</Tile>
        <Tile name="event loop late">{status.process.lag_ms.toFixed(1)} ms</Tile>
        <Tile name="memory">{bytes(status.process.memory_bytes)}</Tile>
        <Tile name="running for">{age(status.process.uptime_s * 1000)}</Tile>
      </dl>
      <h2>Exchanges</h2>
      <Table caption="Exchanges" heads={["exchange", "state", "#records/s", "last two minutes", "#age", "#lag", "#topics", "#open gaps"]}>
        {status.exchanges.map((exchange) => {
          const topics = Object.entries(exchange.topics);
          const told = topics.map(([name, number]) => `${number} ${name}`).join(", ");
          return (
            <tr key={exchange.id} data-exchange={exchange.id} data-state={standing(exchange)}>
              <th scope="row">
                <a href={exchangeLink(exchange.id)}>{exchange.id}</a> <Elsewhere exchange={exchange} />
              </th>
              <td>
                <Badge state={standing(exchange)} title={exchange.trouble ?? told} />
              </td>
              <td class="number">{rate(exchange.rate)}</td>
              <td>
                <Sparkline values={state.rates.get(exchange.id) ?? []} label={`records a second of ${exchange.id}, now ${rate(exchange.rate)}`} />
              </td>
              <td class="number">{age(exchange.age_ms)}</td>
              <td class="number">{age(state.latencies.get(exchange.id))}</td>
              <td class="number" title={told}>
                {count(topics.reduce((sum, [, number]) => sum + number, 0))}
              </td>
              <td class={exchange.gaps ? "number warn" : "number"}>{exchange.gaps}</td>
            </tr>
          );
        })}
      </Table>
      <p class="note">
        Age is the time since the last record. Lag is how much later than the exchange&rsquo;s own time records come, told once a minute.
      </p>
      {status.exchanges.some((exchange) => exchange.elsewhere.length > 0) && (
        <p class="note">
          <span class="warn">not its own address</span>: the configuration has put others in the place of this exchange&rsquo;s addresses. It is a simulation, as in a
          demo, a playback, or a relay, and what it says is not the exchange&rsquo;s own word.
        </p>
      )}
      {status.sources.length > 0 && (
        <>
          <h2>Sources</h2>
          <Table caption="Sources" heads={["source", "state", "#records", "#age", "trouble"]}>
            {status.sources.map((source) => (
              <tr key={source.name}>
                <th scope="row">{source.name}</th>
                <td>
                  <Badge state={source.state} />
                </td>
                <td class="number">{count(source.records)}</td>
                <td class="number">{age(source.age_ms)}</td>
                <td>{source.trouble}</td>
              </tr>
            ))}
          </Table>
        </>
      )}
      <h2>Sinks</h2>
      {status.sinks.length === 0 ? (
        <Empty>No sink is configured.</Empty>
      ) : (
        <Table caption="Sinks" heads={["sink", "type", "state", "#written", "#waiting", "#refused", "#dropped", "trouble"]}>
          {status.sinks.map((sink) => (
            <tr key={sink.name}>
              <th scope="row">{sink.name}</th>
              <td>{sink.type}</td>
              <td>
                <Badge state={sink.state} />
              </td>
              <td class="number">{count(sink.written)}</td>
              <td class="number">{count(sink.held)}</td>
              <td class={sink.refused ? "number warn" : "number"}>{count(sink.refused)}</td>
              <td class={sink.dropped ? "number warn" : "number"}>{count(sink.dropped)}</td>
              <td>{sink.failing}</td>
            </tr>
          ))}
        </Table>
      )}
      {status.sinks.length > 0 && (
        <p class="note">
          Where records are written. How complete that is: <a href="#/coverage">coverage</a>.
        </p>
      )}
      <h2>Clients</h2>
      {subscribers.length === 0 ? (
        <Empty>Nobody is connected.</Empty>
      ) : (
        <Table caption="Clients" heads={["client", "topics", "#waiting", "#lags", "#missed"]}>
          {subscribers.map((client, i) => (
            <tr key={i}>
              <th scope="row">{client.peer}</th>
              <td class="long">{client.topics.join(" ")}</td>
              <td class="number">{count(client.queued)}</td>
              <td class="number">{count(client.lags)}</td>
              <td class={client.missed ? "number warn" : "number"}>{count(client.missed)}</td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}
