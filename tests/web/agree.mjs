/** Every number of the overview and of an exchange beside the same number of `/metrics`, of one moment.
 *
 * The page is given one status and no second one; metrics are read before and after it. What only grows lies between the
 * two, what moves lies near them, and a number that nobody compares is a fault as well.
 */

const FRESH_MS = 1200; // metrics are told again for a second
const UNITS = { ms: 1e-3, s: 1, min: 60, B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };

/** The samples of the text format of Prometheus: `sum(name, {label: value})` adds those that fit. */
class Metrics {
  constructor(text) {
    this.samples = text.split("\n").flatMap((line) => {
      const found = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (!found) return [];
      const labels = Object.fromEntries([...(found[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name, value]));
      return [{ name: found[1], labels, value: Number(found[3]) }];
    });
  }

  all(name, wanted = {}) {
    return this.samples.filter((each) => each.name === name && Object.entries(wanted).every(([label, value]) => each.labels[label] === value));
  }

  sum(name, wanted) {
    return this.all(name, wanted).reduce((sum, each) => sum + each.value, 0);
  }

  least(name, wanted) {
    return Math.min(...this.all(name, wanted).map((each) => each.value));
  }
}

async function metrics(base) {
  return new Metrics(await (await fetch(`${base}metrics`)).text());
}

/** What a cell says as a number, in seconds or bytes where it has a unit, and by how much it is rounded. */
function read(text) {
  const found = /^([\d,]+)(\.\d+)?(?: (ms|s|min|B|kB|MB|GB|TB|h \d+ min))?$/.exec(text.trim());
  if (!found) return undefined;
  const [, whole, part = "", unit] = found;
  const value = Number(whole.replaceAll(",", "") + part);
  if (unit?.startsWith("h")) return { value: value * 3600 + Number(/\d+/.exec(unit)[0]) * 60, rounded: 60 };
  const step = UNITS[unit] ?? 1;
  return { value: value * step, rounded: step * (unit === "min" ? 1 : 10 ** -Math.max(0, part.length - 1)) };
}

const grows = (of) => ({ of, slack: 0 });
const moves = (of) => ({ of, slack: 0.5, least: 3 });
const ages = (of) => ({ of, slack: 0, least: 2.5 });

/** Compare a text with what both metrics say. */
function near(text, { of, slack, least = 0 }, before, after) {
  const [low, high] = [of(before), of(after)].sort((one, other) => one - other);
  if (/^[–-]$/.test(text.trim())) return !Number.isFinite(low) || !Number.isFinite(high);
  const said = read(text);
  if (!said) return false;
  const reach = Math.max(slack * Math.abs(high), least) + said.rounded;
  return said.value >= low - reach && said.value <= high + reach;
}

const id = (row) => row.trim();
const inFine = (m, exchange) => m.sum("aggregator_topics", { exchange, state: "live" }) + m.sum("aggregator_topics", { exchange, state: "quiet" });
const exchangesOf = (m) => [...new Set(m.all("aggregator_exchange_state").map((each) => each.labels.exchange))];
const isUp = (m, exchange) => {
  const all = m.sum("aggregator_topics", { exchange });
  return all > 0 && all === inFine(m, exchange) && m.sum("aggregator_exchange_state", { exchange, state: "running" }) === 1;
};
const lag = (m, exchange) => {
  const total = (each) => m.sum("aggregator_exchange_lag_seconds_bucket", { exchange, le: each });
  const bounds = [...new Set(m.all("aggregator_exchange_lag_seconds_bucket", { exchange }).map((each) => each.labels.le))];
  return bounds.sort((one, other) => Number(one.replace("+Inf", "Infinity")) - Number(other.replace("+Inf", "Infinity"))).find((each) => total(each) * 2 >= total("+Inf"));
};
/** The median of a minute lies in the bucket of the median of all, or beside it. */
const isLag = (text, before, after, exchange) => {
  const said = read(text);
  return !said || said.value <= 10 * Number((lag(after, exchange) ?? "+Inf").replace("+Inf", "Infinity"));
};
const words = (name, label) => (text, before, after, wanted) =>
  text.trim() === "none" || text.trim() === "" ? after.sum(name, wanted) === 0 || before.sum(name, wanted) === 0
    : text.split(", ").every((each) => {
      const [number, ...word] = each.split(" ");
      return near(number, { of: (m) => m.sum(name, { ...wanted, [label]: word.join(" ") }), slack: 0, least: 3 }, before, after);
    });

const ofSink = (name, more = {}) => (row) => grows((m) => m.sum(name, { component_id: id(row), component_kind: "sink", ...more }));
const SINKS = {
  written: ofSink("component_sent_events_total"),
  waiting: (row) => ({ of: (m) => m.sum("buffer_events", { component_id: id(row) }), slack: 1, least: 5000 }),
  refused: ofSink("component_errors_total", { error_type: "refused" }),
  dropped: ofSink("component_discarded_events_total"),
};
const CLIENTS = {
  waiting: (row) => ({ of: (m) => m.sum("aggregator_client_queue_records", { client: id(row) }), slack: 1, least: 5000 }),
  lags: (row) => grows((m) => m.sum("aggregator_client_lags_total", { client: id(row) })),
  missed: (row) => grows((m) => m.sum("aggregator_client_missed_records_total", { client: id(row) })),
};

const OVERVIEW = {
  tiles: {
    "exchanges up": (text, before, after) => {
      const [up, all] = text.split(" of ").map(Number);
      const counts = [before, after].map((m) => exchangesOf(m).filter((each) => isUp(m, each)).length).sort();
      return all === exchangesOf(after).length && up >= counts[0] && up <= counts[1];
    },
    "records a second": moves((m) => m.sum("aggregator_records_per_second")),
    "records in all": grows((m) => m.sum("aggregator_records_total")),
    instruments: grows((m) => m.sum("aggregator_instruments")),
    "event loop late": { of: (m) => m.sum("aggregator_loop_lag_max_seconds"), slack: 1, least: 0.01 },
    memory: { of: (m) => m.sum("aggregator_memory_bytes"), slack: 0.1 },
    "running for": ages((m) => Date.now() / 1000 - m.sum("aggregator_start_time_seconds")),
  },
  tables: {
    Exchanges: {
      "records/s": (row) => moves((m) => m.sum("aggregator_records_per_second", { exchange: id(row) })),
      age: (row) => ages((m) => m.least("aggregator_topic_age_seconds", { exchange: id(row), of: "newest" })),
      lag: (row) => (text, before, after) => isLag(text, before, after, id(row)),
      topics: (row) => grows((m) => m.sum("aggregator_topics", { exchange: id(row) })),
      "open gaps": (row) => grows((m) => m.sum("aggregator_gaps_open", { exchange: id(row) })),
    },
    Sinks: SINKS,
    Clients: CLIENTS,
  },
};

const exchangePage = (exchange) => ({
  tiles: {
    "records a second": moves((m) => m.sum("aggregator_records_per_second", { exchange })),
    records: grows((m) => m.sum("component_sent_events_total", { component_id: exchange })),
    "last record": ages((m) => m.least("aggregator_topic_age_seconds", { exchange, of: "newest" })),
    lag: (text, before, after) => isLag(text, before, after, exchange),
    "open gaps": grows((m) => m.sum("aggregator_gaps_open", { exchange })),
    "topics *": (state) => ({ of: (m) => m.sum("aggregator_topics", { exchange, state }), slack: 0, least: 3 }),
  },
  sums: {
    Connections: {
      frames: grows((m) => m.sum("component_received_events_total", { component_id: exchange })),
      bytes: { of: (m) => m.sum("component_received_bytes_total", { component_id: exchange }), slack: 0.05 },
      unread: grows((m) => m.sum("aggregator_unread_frames_total", { exchange })),
      topics: grows((m) => m.sum("aggregator_topics", { exchange })),
    },
    Topics: {
      "records/s": moves((m) => m.sum("aggregator_records_per_second", { exchange })),
      // Besides records of topics there are those of the market list, of gaps and of how connections fare.
      records: { of: (m) => m.sum("component_sent_events_total", { component_id: exchange }), slack: 0.5 },
    },
  },
  leasts: {
    Topics: { age: ages((m) => m.least("aggregator_topic_age_seconds", { exchange, of: "newest" })) },
  },
  tables: {
    Connections: {
      age: () => (text, before, after) => /^every/.test(text) || read(text).value <= Date.now() / 1000 - after.sum("aggregator_start_time_seconds"),
      refused: () => (text) => text === "0",
    },
    Channels: {
      topics: (row) => (text, before, after) => words("aggregator_topics", "state")(text, before, after, { exchange, channel: id(row) }),
      "records/s": (row) => moves((m) => m.sum("aggregator_records_per_second", { exchange, channel: id(row) })),
      age: (row) => ages((m) => m.least("aggregator_topic_age_seconds", { exchange, channel: id(row), of: "newest" })),
      "open gaps": (row) => (text, before, after) => words("aggregator_gaps_open", "cause")(text, before, after, { exchange, channel: id(row) }),
    },
  },
});

/** What the page shows: tiles, and tables by their caption, as texts. */
function shown() {
  const tiles = [...document.querySelectorAll("main .tile")].map((each) => [each.querySelector("dt").textContent, each.querySelector("dd").textContent]);
  const tables = [...document.querySelectorAll("main table")].map((table) => ({
    caption: table.caption.textContent,
    heads: [...table.tHead.rows[0].cells].map((cell) => cell.textContent),
    rows: [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell, i) => ((i === 0 && cell.querySelector("a")) || cell).textContent)),
  }));
  return { tiles, tables };
}

async function compare(page, base, path, expected, check, about) {
  await page.goto("about:blank"); // what was asked before is of no use here
  const before = await metrics(base);
  const held = [];
  let isGiven = false;
  let taken;
  const has = new Promise((resolve) => (taken = resolve));
  const giveOne = async (route) => {
    if (isGiven) return void held.push(route); // it waits, as long as the page is compared
    isGiven = true;
    const response = await route.fetch();
    await route.fulfill({ response });
    taken();
  };
  await page.route("**/status*", giveOne);
  await page.goto(`${base}#/${path}`, { waitUntil: "commit" });
  await has;
  await page.waitForSelector("main .tile");
  const now = await page.evaluate(shown);
  await new Promise((resolve) => setTimeout(resolve, FRESH_MS));
  const after = await metrics(base);
  await page.unroute("**/status*", giveOne);
  for (const route of held) await route.continue().catch(() => {}); // one may be given up already
  const wrong = [];
  let compared = 0;
  const hold = (what, text, rule) => {
    compared += 1;
    const is = typeof rule === "function" ? rule(text, before, after) : near(text, rule, before, after);
    if (is) return;
    const metric = typeof rule === "function" ? "" : `: ${rule.of(before)} to ${rule.of(after)} in the metrics`;
    wrong.push(`${what} is ${text}${metric}`);
  };
  for (const [name, text] of now.tiles) {
    const group = name.startsWith("topics ") ? expected.tiles["topics *"] : undefined;
    const rule = expected.tiles[name] ?? group?.(name.slice("topics ".length));
    if (rule) hold(name, text, rule);
    else wrong.push(`nobody compares ${name}: ${text}`);
  }
  for (const { caption, heads, rows } of now.tables) {
    heads.forEach((head, at) => {
      const texts = rows.map((row) => row[at] ?? "").filter((text) => text !== "");
      const total = expected.sums?.[caption]?.[head];
      const least = expected.leasts?.[caption]?.[head];
      const rule = expected.tables[caption]?.[head];
      const numbers = texts.map(read).filter(Boolean).map((each) => each.value);
      if (total) hold(`${caption}, all ${head}`, String(numbers.reduce((sum, each) => sum + each, 0)), total);
      else if (least && numbers.length > 0) hold(`${caption}, least ${head}`, `${Math.min(...numbers)} s`, least);
      else if (rule) rows.forEach((row) => row[at] && hold(`${caption}, ${head} of ${row[0]}`, row[at], rule(row[0])));
      else if (texts.some((text) => read(text))) wrong.push(`nobody compares ${caption}, ${head}: ${texts[0]}`);
    });
  }
  check(wrong.length === 0 && compared > 8, `${about}: ${compared} numbers agree with the metrics${wrong.length ? `, and not: ${wrong.join("; ")}` : ""}`);
}

/** Compare the overview, and one exchange of which no connection has ended. */
export async function agree(page, base, exchange, check) {
  await compare(page, base, "overview", OVERVIEW, check, "the overview");
  if (exchange) await compare(page, base, `exchange/${exchange}`, exchangePage(exchange), check, exchange);
}
