/** How complete a recording is: topics by days, as `aggregator coverage` computes it when somebody looks. */

import { useEffect, useState } from "preact/hooks";

import { ask, type CoverageDay, type CoverageGap, type CoverageReport, type Recording } from "./ask";
import { Empty, exchangeLink, Table } from "./parts";
import { useShared } from "./state";
import { age, count, DAY_MS, fromNs, utc, utcDay } from "./words";

const MOST_ROWS = 60;
const MOST_TOLD = 50;
const SPANS: [number, string][] = [
  [1, "today"],
  [7, "7 days"],
  [31, "31 days"],
];
const STEPS: [number, string][] = [
  [100, "whole"],
  [99.9, "99.9 % and more"],
  [99, "99 % and more"],
  [90, "90 % and more"],
  [0, "less"],
];

type Row = { topic: string; exchange: string; days: Map<string, CoverageDay>; share: number };

export function CoveragePage({ exchange }: { exchange: string | undefined }) {
  const state = useShared();
  const [recordings, know] = useState<Recording[]>();
  const [chosen, choose] = useState("");
  const [span, stretch] = useState(7);
  const [trouble, fail] = useState("");
  useEffect(() => {
    ask<{ recordings: Recording[] }>("/coverage").then(
      (answer) => know(answer.recordings),
      (error: Error) => fail(error.message),
    );
  }, []);
  const ids = state.status?.exchanges.map((each) => each.id) ?? [];
  const recording = recordings?.find((each) => each.name === chosen) ?? recordings?.[0];
  return (
    <>
      <h1>Coverage</h1>
      <p class="note">
        How much of each day a recording has of each topic, of the time that the topic was followed. It is computed from what was recorded, when this
        page is opened.
      </p>
      {trouble ? (
        <Empty>{trouble}</Empty>
      ) : !recordings ? (
        <Empty>Asking which recordings there are…</Empty>
      ) : !recording ? (
        <Empty>
          This daemon keeps no recording: its configuration has no sink of type files, csv or parquet, and no [journal]. What is recorded elsewhere is
          judged by the command <code>aggregator coverage DIR</code>.
        </Empty>
      ) : (
        <>
          <div class="bar">
            {recordings.length > 1 && (
              <label>
                Recording{" "}
                <select value={recording.name} onChange={(event) => choose(event.currentTarget.value)}>
                  {recordings.map((each) => (
                    <option key={each.name}>{each.name}</option>
                  ))}
                </select>
              </label>
            )}
            <label>
              Exchange{" "}
              <select value={exchange ?? ""} onChange={(event) => (location.hash = `#/coverage/${encodeURIComponent(event.currentTarget.value)}`)}>
                <option value="">all</option>
                {[...new Set([...ids, ...(exchange ? [exchange] : [])])].map((id) => (
                  <option key={id} value={id}>
                    {id}
                  </option>
                ))}
              </select>
            </label>
            <fieldset class="choice">
              <legend>Days</legend>
              {SPANS.map(([days, name]) => (
                <label key={days}>
                  <input type="radio" name="days" checked={days === span} onChange={() => stretch(days)} /> {name}
                </label>
              ))}
            </fieldset>
          </div>
          <Answer key={`${recording.name} ${exchange} ${span}`} recording={recording} exchange={exchange} span={span} />
        </>
      )}
    </>
  );
}

/** Ask, and show what is answered. */
function Answer({ recording, exchange, span }: { recording: Recording; exchange: string | undefined; span: number }) {
  const [report, take] = useState<CoverageReport>();
  const [trouble, fail] = useState("");
  const [since] = useState(Date.now());
  const [last] = useState(utcDay(since));
  const first = utcDay(since - (span - 1) * DAY_MS);
  useEffect(() => {
    const leaving = new AbortController();
    const query = new URLSearchParams({ recording: recording.name, first, last, ...(exchange ? { exchange } : {}) });
    ask<CoverageReport>(`/coverage?${query}`, { signal: leaving.signal }).then(take, (error: Error) => leaving.signal.aborted || fail(error.message));
    return () => leaving.abort();
  }, []);
  if (trouble) return <Empty>{trouble}</Empty>;
  if (!report) return <Empty>Reading {recording.path}…</Empty>;
  // The newest day comes first, where a narrow screen shows it; days before the recording began are left out.
  const days = Array.from({ length: span }, (_, i) => utcDay(since - i * DAY_MS));
  return <HeatMap report={report} days={days.filter((day) => report.days.some((each) => each.day <= day))} path={recording.path} />;
}

function HeatMap({ report, days, path }: { report: CoverageReport; days: string[]; path: string }) {
  const [wanted, want] = useState("");
  const [open, show] = useState("");
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const all = rows(report.days);
  const found = all.filter((row) => words.every((word) => row.topic.toLowerCase().includes(word)));
  const shown = found.slice(0, MOST_ROWS);
  const said = [...report.remarks, ...report.unreadable];
  const period = report.ts_from !== null && report.ts_to !== null ? `, ${utc(fromNs(report.ts_from))} to ${utc(fromNs(report.ts_to))} UTC` : "";
  return (
    <>
      <label class="search">
        Search <input type="search" value={wanted} onInput={(event) => want(event.currentTarget.value)} placeholder="book BTC" />
      </label>
      <p class="note" aria-live="polite">
        {count(found.length)} of {count(all.length)} topics in {path}
        {period}; the worst first{found.length > MOST_ROWS && `, and ${MOST_ROWS} of them are shown`}. Days are of UTC.
      </p>
      {said.length > 0 && (
        <details open>
          <summary>{count(said.length)} remarks about the recording</summary>
          <ul>
            {said.slice(0, MOST_TOLD).map((each, i) => (
              <li key={i}>{each}</li>
            ))}
          </ul>
        </details>
      )}
      {all.length === 0 ? (
        <Empty>Nothing was recorded in these days.</Empty>
      ) : found.length === 0 ? (
        <Empty>No topic has all these words.</Empty>
      ) : (
        <>
          <ul class="legend" aria-hidden="true">
            <li>percent of the time:</li>
            {STEPS.map(([least, name], i) => (
              <li key={least}>
                <span class={`heat-${i}`}></span> {name}
              </li>
            ))}
            <li>– not followed</li>
          </ul>
          <Table caption="Percent covered, by topic and day" heads={["topic", ...days.map((day) => `#${day.slice(5)}`)]}>
            {shown.flatMap((row) => [
              <tr key={row.topic} class="heat">
                <th scope="row">
                  <button type="button" class="plain" aria-expanded={row.topic === open} onClick={() => show(row.topic === open ? "" : row.topic)}>
                    <bdi>{row.topic}</bdi>
                  </button>
                </th>
                {days.map((day) => {
                  const found = row.days.get(day);
                  return (
                    <td key={day} class={`number ${step(found)}`} title={found && told(row.topic, found)}>
                      {percent(found)}
                    </td>
                  );
                })}
              </tr>,
              ...(row.topic === open ? [<Details key={`${row.topic} gaps`} row={row} width={days.length + 1} />] : []),
            ])}
          </Table>
        </>
      )}
    </>
  );
}

/** What is missing of one topic, in words. */
function Details({ row, width }: { row: Row; width: number }) {
  const days = [...row.days.values()].sort((one, other) => (one.day < other.day ? 1 : -1));
  return (
    <tr class="told">
      <td colSpan={width}>
        <p>
          <a href={exchangeLink(row.exchange)}>How {row.exchange} fares now</a>
        </p>
        <ul>
          {days.map((day) => (
            <li key={day.day}>
              {summary(day)}
              <ul>
                {day.gaps.slice(0, MOST_TOLD).map((gap, i) => (
                  <li key={i}>{inWords(gap)}</li>
                ))}
              </ul>
            </li>
          ))}
        </ul>
      </td>
    </tr>
  );
}

/** Topics with their days, those of which the least is covered first. */
function rows(days: CoverageDay[]): Row[] {
  const found = new Map<string, Row>();
  for (const day of days) {
    const topic = `${day.channel}:${day.exchange}:${day.symbol ?? day.raw_symbol ?? "*"}`;
    const row = found.get(topic) ?? { topic, exchange: day.exchange, days: new Map(), share: 0 };
    row.days.set(day.day, day);
    found.set(topic, row);
  }
  for (const row of found.values()) {
    const [covered, followed] = [...row.days.values()].reduce(([a, b], day) => [a + day.covered_ns, b + day.followed_ns], [0, 0]);
    row.share = followed ? covered / followed : 2;
  }
  return [...found.values()].sort((one, other) => one.share - other.share || (one.topic < other.topic ? -1 : 1));
}

function step(day: CoverageDay | undefined): string {
  if (!day || day.percent === null) return "";
  return `heat-${STEPS.findIndex(([least]) => day.percent! >= least)}`;
}

/** Cut, not rounded: only what is whole is 100. */
function percent(day: CoverageDay | undefined): string {
  if (!day || day.percent === null) return "–";
  return day.percent >= 100 ? "100" : (Math.floor(day.percent * 100) / 100).toFixed(2);
}

function summary(day: CoverageDay): string {
  const gaps = day.gaps.length + day.gaps_left_out;
  const numbers = day.missing || day.untold ? `; by the exchange\u2019s numbers ${count(day.missing)} missing, ${count(day.untold)} of them untold` : "";
  const share = day.percent === null ? "not followed" : `${percent(day)} % of ${age(fromNs(day.followed_ns))}`;
  return `${day.day}: ${share}, ${count(day.records)} records, ${gaps === 1 ? "1 gap" : `${count(gaps)} gaps`}${numbers}`;
}

function told(topic: string, day: CoverageDay): string {
  const gaps = day.gaps.slice(0, 5).map(inWords);
  const more = day.gaps.length + day.gaps_left_out - gaps.length;
  return [topic, summary(day), ...gaps, ...(more > 0 ? [`and ${count(more)} more`] : [])].join("\n");
}

function inWords(gap: CoverageGap): string {
  const missed = gap.missed === null ? "" : `, ${count(gap.missed)} missed`;
  const end = gap.ts_to === null ? "it is open" : `to ${utc(fromNs(gap.ts_to))}`;
  return `${gap.cause} ${utc(fromNs(gap.ts_from))} ${end}${missed}${gap.is_mended ? ", mended" : ""}`;
}
