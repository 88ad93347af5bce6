/** The page: which part of it an address means, and what stands around each part. */

import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import "./page.css";
import { login, ask, type Language } from "./ask";
import { CataloguePage } from "./catalogue";
import { CoveragePage } from "./coverage";
import { ExchangePage } from "./exchange";
import { Help } from "./help";
import { Markets } from "./markets";
import { Overview } from "./overview";
import { Shared, State, useShared } from "./state";
import { SymbolPage } from "./symbol";
import { Topics } from "./topics";

const PLACES: [string, string][] = [
  ["overview", "Overview"],
  ["markets", "Markets"],
  ["topics", "Topics"],
  ["coverage", "Coverage"],
  ["catalogue", "Catalogue"],
  ["help", "Help"],
];

/** Where a part stands that no link of the head names. */
const ABOVE: Record<string, string> = { exchange: "overview", symbol: "markets" };

function here(): string[] {
  const path = location.hash.replace(/^#\/?/, "").split("/");
  try {
    return path.map(decodeURIComponent);
  } catch {
    return [];
  }
}

function Part({ path: [place, name] }: { path: string[] }) {
  if (place === "exchange" && name) return <ExchangePage key={name} id={name} />;
  if (place === "symbol" && name) return <SymbolPage key={name} symbol={name} />;
  if (place === "markets") return <Markets />;
  if (place === "topics") return <Topics />;
  if (place === "help") return <Help />;
  if (place === "coverage") return <CoveragePage exchange={name} />;
  if (place === "catalogue") return <CataloguePage language={(name === "zh" ? "zh" : "en") satisfies Language} />;
  return <Overview />;
}

function Page() {
  const state = useShared();
  const [path, go] = useState(here);
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    const moved = () => {
      go(here());
      scrollTo(0, 0);
      main.current?.focus({ preventScroll: true });
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  const place = path[0] || "overview";
  useEffect(() => {
    document.title = [path[1] ?? PLACES.find(([each]) => each === place)?.[1], "aggregator"].filter(Boolean).join(" · ");
  }, [path.join("/")]);
  const isWide = place === "catalogue" || place === "help";
  const above = ABOVE[place] ?? place;
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        Skip to the content
      </a>
      <header>
        <strong class="brand">aggregator</strong>
        <nav aria-label="Pages">
          {PLACES.map(([each, name]) => (
            <a key={each} href={`#/${each}`} aria-current={each === above ? "page" : undefined}>
              {name}
            </a>
          ))}
        </nav>
        <Line />
        <Theme />
        {state.hasLogin && (
          <button type="button" onClick={() => void ask("/logout", { method: "POST" }).then(() => location.reload())}>
            Log out
          </button>
        )}
      </header>
      {state.trouble && (
        <p class="trouble" role="alert">
          {state.trouble}
        </p>
      )}
      <div class="unseen" aria-live="polite">
        {state.news}
      </div>
      <main id="main" ref={main} tabIndex={-1}>
        {state.needsLogin && !isWide ? <Login /> : <Part path={path} />}
      </main>
      <footer>
        aggregator {state.status?.process.version} · for programs: <a href="/status">status</a>, <a href="/metrics">metrics</a>, <a href="/livez">alive</a> ·{" "}
        <a href="/notice.txt">licences</a>
      </footer>
    </>
  );
}

/** How the page's own connection is. */
function Line() {
  const { feed } = useShared();
  const words = feed.state === "open" ? "connected" : feed.state === "closed" ? "cut off" : "connecting";
  const missed = feed.missed ? `, ${feed.missed} records missed` : "";
  return (
    <span class={`line ${feed.state}`} title={feed.trouble} role="status">
      <span aria-hidden="true">{feed.state === "open" ? "●" : "○"}</span> {words}
      {missed}
    </span>
  );
}

const THEMES: Record<string, string> = { system: "colours: system", dark: "dark", light: "light" };

function Theme() {
  const [theme, choose] = useState(localStorage.getItem("theme") ?? "system");
  useEffect(() => {
    document.documentElement.dataset["theme"] = theme;
    localStorage.setItem("theme", theme);
    document.dispatchEvent(new Event("theme"));
  }, [theme]);
  return (
    <label>
      <span class="unseen">Colours</span>
      <select value={theme} onChange={(event) => choose(event.currentTarget.value)}>
        {Object.entries(THEMES).map(([each, name]) => (
          <option key={each} value={each}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

function Login() {
  const state = useShared();
  const [token, type] = useState("");
  const [words, say] = useState("");
  const enter = async (event: Event) => {
    event.preventDefault();
    try {
      await login(token.trim());
      state.hasLogin = true;
      await state.begin();
    } catch (error) {
      say(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <form class="login" onSubmit={enter}>
      <h1>Log in</h1>
      <p>This feed needs a token: whoever runs it makes one with `aggregator token`.</p>
      <label>
        Token <input type="password" autocomplete="current-password" value={token} onInput={(event) => type(event.currentTarget.value)} required />
      </label>
      <button type="submit">Log in</button>
      {words && (
        <p class="trouble" role="alert">
          {words}
        </p>
      )}
    </form>
  );
}

// The slash goes to the search of the part that is shown.
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target instanceof HTMLInputElement) return;
  const search = document.querySelector<HTMLInputElement>("input[type=search]");
  if (search) {
    event.preventDefault();
    search.focus();
  }
});

const state = new State();
void state.begin();
render(
  <Shared.Provider value={state}>
    <Page />
  </Shared.Provider>,
  document.getElementById("page")!,
);
