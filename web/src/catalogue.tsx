/** Every exchange that is known, by country, in English and Chinese; from the project's own data. What has a transport has a connector. */

import { useEffect, useMemo, useState } from "preact/hooks";

import { ask, type Catalogue, type CatalogueWords, type Known, type Language } from "./ask";
import { Empty, Table } from "./parts";

const OWN: Record<Language, { search: string; other: string }> = {
  en: { search: "Search", other: "中文" },
  zh: { search: "搜索", other: "English" },
};

export function CataloguePage({ language }: { language: Language }) {
  const [data, take] = useState<Catalogue>();
  const [trouble, fail] = useState("");
  const [wanted, want] = useState("");
  useEffect(() => {
    ask<Catalogue>("/catalogue.json").then(take, (error: Error) => fail(error.message));
  }, []);
  const sections = useMemo(() => (data ? byCountry(data, language) : []), [data, language]);
  if (trouble) return <Empty>{trouble}</Empty>;
  if (!data) return <Empty>…</Empty>;
  const words = data.words[language];
  const needle = wanted.toLowerCase();
  const shown = sections
    .map(([title, known]): [string, Known[]] => [title, title.toLowerCase().includes(needle) ? known : known.filter((one) => says(one, needle))])
    .filter(([, known]) => known.length > 0);
  const other: Language = language === "en" ? "zh" : "en";
  return (
    <section lang={language}>
      <h1>{words.title}</h1>
      <div class="bar">
        <label class="search">
          {OWN[language].search} <input type="search" value={wanted} onInput={(event) => want(event.currentTarget.value)} />
        </label>
        <a href={`#/catalogue/${other}`} lang={other}>
          {OWN[language].other}
        </a>
      </div>
      {shown.map(([title, known]) => (
        <details key={title} open class="country">
          <summary>
            <h2>{title}</h2> <span class="note">{counted(words.count, known)}</span>
          </summary>
          <Table caption={title} heads={words.columns}>
            {known.map((one) => (
              <tr key={one.id}>
                <td>
                  <code>{one.id}</code>
                </td>
                <th scope="row">
                  <a href={one.home} rel="noreferrer noopener" target="_blank">
                    {language === "zh" && one.zh_name ? `${one.zh_name} ${one.name}` : one.name}
                  </a>
                </th>
                <td>{words.statuses[one.status] ?? one.status}</td>
                <td>{[one.closed, one.successor && `→ ${one.successor}`].filter(Boolean).join(" ")}</td>
                <td>{one.transport ? (words.transports[one.transport] ?? one.transport) : ""}</td>
                <td>{one.transport ? (one.keys === "all" ? words.connector_with_keys : words.connector) : ""}</td>
                <td title={one.archives?.map((old) => old.channels.join(", ")).join("; ")}>{captures(one, words)}</td>
              </tr>
            ))}
          </Table>
        </details>
      ))}
      {shown.length === 0 && <Empty>–</Empty>}
    </section>
  );
}

/** Until when the formats were spoken of which captures are read; or that no message of it was found. */
function captures(one: Known, words: CatalogueWords): string {
  if (one.read_as) return `→ ${one.read_as}`;
  const until = (one.archives ?? []).map((old) => old.until ?? words.captures).join(", ");
  const isOver = ["closed", "suspended", "delisted"].includes(one.status) && !one.transport;
  return until || (isOver ? words.no_captures : "");
}

function says(one: Known, needle: string): boolean {
  return [one.id, one.name, one.zh_name ?? ""].some((text) => text.toLowerCase().includes(needle));
}

function counted(text: string, known: Known[]): string {
  const live = known.filter((one) => one.status === "live").length;
  return text.replace("{total}", String(known.length)).replace("{live}", String(live));
}

/** Exchanges by the name of their country; the live ones are first, and those of no country last. */
function byCountry(data: Catalogue, language: Language): [string, Known[]][] {
  const first = (one: Known) => (one.status === "live" ? 0 : 1);
  const sorted = [...data.exchanges].sort((one, other) => first(one) - first(other) || (one.id < other.id ? -1 : 1));
  const sections = Object.entries(data.countries)
    .sort(([, one], [, other]) => (one.en < other.en ? -1 : 1))
    .map(([code, names]): [string, Known[]] => [`${names[language]} (${code})`, sorted.filter((one) => one.countries?.includes(code))]);
  sections.push([data.words[language].nowhere, sorted.filter((one) => !one.countries?.length)]);
  return sections.filter(([, known]) => known.length > 0);
}
