/** Opens every page of `aggregator demo` in headless Chromium, and fails where something is not as it should be.
 *
 * node tests/web/look.mjs [DIRECTORY OF SCREENSHOTS] [SECONDS OF MEASURING]
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { agree } from "./agree.mjs";

const root = new URL("../..", import.meta.url).pathname;
const { chromium } = createRequire(join(root, "web/package.json"))("playwright-core");

const shots = process.argv[2] ?? join(root, "web/shots");
const measuring = Number(process.argv[3] ?? 15) * 1000;
const PATIENCE_MS = 60_000;
const DOWN_MS = 5_000;
const LONGEST_TASK_MS = 50;
const MOST_SHARE = 0.3;
const MOST_BYTES = 300_000;
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

const browserPath = process.env.CHROMIUM ?? "/usr/bin/chromium";
if (!existsSync(browserPath)) {
  console.error(`${browserPath} is not there: apt-get install chromium, or say where it is with CHROMIUM=`);
  process.exit(1);
}
mkdirSync(shots, { recursive: true });
const own = mkdtempSync(join(tmpdir(), "aggregator-page-"));
const control = join(own, "control.sock");
const python = process.env.PYTHON ?? join(root, ".venv/bin/python");
const demo = spawn(python, ["-m", "aggregator", "demo", "--json", "--control", control], {
  cwd: root,
  stdio: ["ignore", "ignore", "pipe"],
});
const ended = new Promise((resolve) => demo.once("exit", resolve));

/** The address that the demo prints. */
function address() {
  return new Promise((resolve, reject) => {
    let said = "";
    demo.stderr.on("data", (data) => {
      said += data;
      const found = /http:\/\/\S+/.exec(said);
      if (found) resolve(found[0]);
    });
    demo.once("exit", () => reject(new Error(`the demo ended: ${said}`)));
  });
}

/** Tell the simulated exchanges something. */
function tell(command) {
  return new Promise((resolve, reject) => {
    const socket = connect(control, () => socket.write(`${JSON.stringify(command)}\n`));
    socket.once("data", (data) => resolve(socket.end() && JSON.parse(data)));
    socket.once("error", reject);
  });
}

const problems = [];
const errors = [];
function check(is, words) {
  console.log(`${is ? "ok  " : "FAIL"} ${words}`);
  if (!is) problems.push(words);
}

async function until(words, look, patience = PATIENCE_MS) {
  const start = Date.now();
  let last;
  while (Date.now() - start < patience) {
    try {
      if (await look()) return check(true, `${words} (${Date.now() - start} ms)`), Date.now() - start;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  check(false, `${words}: not within ${patience} ms${last ? `, ${last.message}` : ""}`);
  return undefined;
}

/** Have a browser say what it spends its time with, while a page is shown. */
async function measure(page, words) {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  const read = async () => {
    const { metrics } = await session.send("Performance.getMetrics");
    return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
  };
  const browser = page.context().browser();
  await browser.startTracing(page, { categories: ["toplevel"] });
  const before = await read();
  await page.waitForTimeout(measuring);
  const after = await read();
  const long = longTasks(JSON.parse(await browser.stopTracing()).traceEvents);
  const seconds = after.Timestamp - before.Timestamp;
  const script = (after.ScriptDuration - before.ScriptDuration) / seconds;
  const task = (after.TaskDuration - before.TaskDuration) / seconds;
  const told = `${(100 * script).toFixed(1)} % script, ${(100 * task).toFixed(1)} % of the main thread in all`;
  check(script < MOST_SHARE, `${words}: ${told}`);
  check(long.over.length === 0, `${words}: of ${long.of} tasks in ${seconds.toFixed(0)} s the longest took ${long.longest.toFixed(1)} ms`);
}

/** Tasks of the page's main thread by the time that they took of a core: on a busy machine a clock would count others' work. */
function longTasks(events) {
  const mains = new Set(
    events.filter((each) => each.name === "thread_name" && each.args.name === "CrRendererMain").map((each) => `${each.pid} ${each.tid}`),
  );
  const took = events
    .filter((each) => each.name.endsWith("RunTask") && mains.has(`${each.pid} ${each.tid}`) && each.tdur !== undefined)
    .map((each) => each.tdur / 1000);
  check(took.length > 10, `the browser tells what its tasks take: ${took.length}`);
  return { of: took.length, longest: Math.max(...took), over: took.filter((each) => each > LONGEST_TASK_MS) };
}

const HOSTILE = `<img src="/icon.svg" onerror="document.title='harmed'"><b>X`;

/** A page with a feed that is played here: twenty markets of which each moves four times a second, some with hostile names. */
async function twenty(browser, base) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.on("pageerror", (error) => errors.push(String(error)));
  const symbols = Array.from({ length: 20 }, (_, i) => (i === 7 ? `${HOSTILE}/USD` : `M${i}/USD`));
  const topics = symbols.flatMap((symbol) => ["alpha", "beta", "gamma"].map((id) => `bbo:${id}:${symbol}`));
  await page.route("**/topics", (route) => route.fulfill({ json: { type: "topics", topics } }));
  let said = 0;
  await page.routeWebSocket("**/feed", (socket) => {
    const playing = setInterval(() => {
      said += 1;
      const lines = symbols.map((symbol) => JSON.stringify(best(symbol, said)));
      for (let i = 0; i < lines.length; i += 4) socket.send(lines.slice(i, i + 4).join("\n"));
    }, 250);
    socket.onClose(() => clearInterval(playing));
  });
  await page.goto(`${base}#/markets`, { waitUntil: "commit" });
  await until("20 markets are live", async () => (await page.locator("td.bid", { hasText: /\d/ }).count()) === 20);
  await measure(page, "20 markets");
  const harm = await page.evaluate(() => [document.querySelectorAll("main img, main b").length, document.title]);
  check(harm[0] === 0 && harm[1] !== "harmed", "what an exchange says is text");
  await page.close();
}

function best(symbol, i) {
  const [bid, ask] = [(100 + (i % 50) / 10).toFixed(2), (100.05 + (i % 50) / 10).toFixed(2)];
  const contributors = ["alpha", "beta", "gamma"].map((id) => [id, "live", 5, bid, "1.5", ask, "2.5"]);
  return {
    type: "consolidated", exchange: "*", symbol, raw_symbol: null, ts_recv: Date.now(), offset: i, conn: "derived/consolidated.250ms",
    source: "derived", bid_price: bid, bid_size: "1.5", bid_exchange: HOSTILE, ask_price: ask, ask_size: "2.5", ask_exchange: "beta",
    contributors, absent: [],
  };
}

async function look() {
  const base = await address();
  await until("the demo answers", async () => (await fetch(`${base}readyz`)).status < 500, 60_000);
  const browser = await chromium.launch({ executablePath: browserPath, args: FLAGS });
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, colorScheme: "dark" });
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("request", (request) => request.url().startsWith(base) || errors.push(`it asks ${request.url()}`));
  const shot = (name, whole = false) => page.screenshot({ path: join(shots, `${name}.png`), fullPage: whole });
  const go = async (path) => {
    await page.goto(`${base}#/${path}`, { waitUntil: "commit" });
    await page.waitForSelector("h1");
  };
  const text = (selector) => page.locator(selector).first().innerText();
  const moves = async (words, selector) => {
    const before = await text(selector);
    await until(words, async () => (await text(selector)) !== before);
  };

  await go("overview");
  await until("every exchange is up", async () => (await page.locator("tr[data-state=up]").count()) >= 4, 60_000);
  await moves("the overview moves", "main table tbody");
  const id = (await page.locator("tr[data-exchange]").last().getAttribute("data-exchange")) ?? "";
  const first = (await page.locator("tr[data-exchange]").first().getAttribute("data-exchange")) ?? "";
  await agree(page, base, first, check);
  await go("overview");
  const row = page.locator(`tr[data-exchange="${id}"]`);
  const state = () => row.getAttribute("data-state");
  await tell({ op: "fault", exchange: id, kind: "refuse", value: 0.001 });
  await until("a killed exchange shows as down", async () => (await state()) === "down", DOWN_MS);
  await shot("overview-down");
  await agree(page, base, "", check);
  await go("overview");
  await until("and comes back", async () => (await state()) === "up", 60_000);
  await tell({ op: "fault_off", exchange: id, kind: "refuse" });

  await row.locator("a").click();
  await until("an exchange's topics are told", async () => (await page.locator("table").last().locator("tr").count()) > 3);
  await until("its gaps are drawn", async () => (await page.locator(".timeline rect").count()) > 0);
  await moves("the exchange moves", "main dl");
  await shot("exchange", true);

  await go("markets");
  await until("every market has prices", async () => (await page.locator("td.bid", { hasText: /\d/ }).count()) >= 8);
  await shot("markets");

  await page.locator("tr[data-symbol] a").first().click();
  await until("a ladder is drawn", async () => (await page.locator(".ladder tr.bid").count()) > 3);
  await moves("the ladder moves", ".ladder");
  await until("trades are told", async () => (await page.locator("section[aria-label=Trades] tbody tr").count()) > 2);
  await until("candles are drawn", async () => (await page.locator(".chart canvas").count()) > 0 && /close \d/.test(await text(".chart + p")));
  await measure(page, "one market");
  await shot("symbol");
  await page.emulateMedia({ colorScheme: "light" });
  await page.waitForTimeout(500);
  await shot("symbol-light", true);

  await page.emulateMedia({ colorScheme: "dark" });
  await go("overview");
  await until("the overview is there again", async () => (await page.locator("polyline").count()) >= 4);
  await shot("overview");
  await page.emulateMedia({ colorScheme: "light" });

  await go("topics");
  await page.keyboard.press("/");
  await page.keyboard.type("book btc");
  await until("topics are found", async () => (await page.locator("tbody tr").count()) > 0 && /live|quiet/.test(await text("tbody")));
  await shot("topics-light");
  await go("coverage");
  await until("a recording's coverage is drawn", async () => (await page.locator("tr.heat").count()) > 10);
  check((await page.locator("tr.heat td[title*=' records, ']").count()) > 10, "what is missing stands at each cell");
  await page.locator("tr.heat button").first().focus();
  await page.keyboard.press("Enter");
  await until("what is missing of a topic is told in words", async () => /records, \d+ gap/.test(await text("tr.told")));
  await shot("coverage-light");
  await go("catalogue/zh");
  await until("the catalogue is in Chinese", async () => /[\u4e00-\u9fff]/.test(await text("h1")) && (await page.locator("details").count()) > 20);
  await shot("catalogue-zh-light");
  await go("catalogue/en");
  await until("and in English", async () => /country/.test(await text("h1")));

  await page.setViewportSize({ width: 390, height: 800 });
  for (const path of ["overview", `exchange/${id}`, "markets", "topics", "coverage", "catalogue/en", "help"]) {
    await go(path);
    await page.waitForTimeout(1500);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    check(wide <= 390, `${path} is no wider than a phone: ${wide}`);
    await shot(`phone-${path.replace("/", "-")}`);
  }
  await go("markets");
  await page.locator("tr[data-symbol] a").first().click();
  await page.waitForSelector(".ladder");
  await page.waitForTimeout(1500);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  check(wide <= 390, `a market is no wider than a phone: ${wide}`);
  await shot("phone-symbol", true);

  const unnamed = await page.evaluate(() =>
    [...document.querySelectorAll("button, input, select, svg, a")].filter(
      (each) => !each.closest("[aria-hidden=true], label, .chart") && !each.getAttribute("aria-label") && !each.textContent?.trim(),
    ).length,
  );
  check(unnamed === 0, `everything that a reader meets has a name: ${unnamed} without`);
  const sizes = await Promise.all(
    ["", "page.js", "page.css", "candles.js", "icon.svg", "catalogue.json"].map(async (path) =>
      Number((await fetch(base + path, { headers: { "Accept-Encoding": "gzip" } })).headers.get("content-length")),
    ),
  );
  const bytes = sizes.reduce((sum, each) => sum + each, 0);
  check(bytes > 0 && bytes < MOST_BYTES, `${bytes} bytes, compressed, in all`);
  await twenty(browser, base);
  check(errors.length === 0, `no error in the console, and no other host is asked: ${JSON.stringify(errors.slice(0, 5))}`);
  await browser.close();
}

try {
  await look();
} catch (error) {
  problems.push(String(error));
  console.error(error);
} finally {
  demo.kill("SIGINT");
  await ended;
  rmSync(own, { recursive: true, force: true });
}
console.log(problems.length === 0 ? "all is well" : problems.join("\n"));
process.exit(problems.length === 0 ? 0 : 1); // whatever the browser's connections have left open
