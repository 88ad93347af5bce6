/** One market over exchanges: best prices, a ladder with its depth, trades and candles. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import type { BookSnapshot, Candle, Consolidated, Trade } from "../../docs/records";
import { Depth } from "./depth";
import { Badge, ElsewhereNote, Empty, exchangeLink, Table } from "./parts";
import { useShared, useTopics, type State } from "./state";
import { age, clock, difference } from "./words";

const LEVELS = 15;
const MOST_TRADES = 30;
const DEPTH_LEVELS = 100;
const BARS = ["10s", "1m", "5m"];

export function SymbolPage({ symbol }: { symbol: string }) {
  const state = useShared();
  const exchanges = useMemo(() => state.exchangesOf(symbol), [state.topics, symbol]);
  const books = exchanges.filter((id) => state.has("book", id, symbol));
  const [chosen, choose] = useState("");
  const exchange = exchanges.includes(chosen) ? chosen : (books[0] ?? exchanges[0] ?? "");
  if (exchanges.length === 0)
    return (
      <Empty>
        No exchange that is followed has <bdi>{symbol}</bdi>. <a href="#/markets">Markets</a> names what there is.
      </Empty>
    );
  return (
    <>
      <h1>
        <bdi>{symbol}</bdi>
      </h1>
      <Best state={state} symbol={symbol} />
      <ElsewhereNote exchanges={state.status?.exchanges.filter((each) => exchanges.includes(each.id)) ?? []} />
      <fieldset class="choice">
        <legend>Book and candles of</legend>
        {exchanges.map((id) => (
          <label key={id}>
            <input type="radio" name="exchange" value={id} checked={id === exchange} onChange={() => choose(id)} /> {id}
          </label>
        ))}
      </fieldset>
      <div class="columns">
        <Ladder key={`ladder ${exchange}`} state={state} exchange={exchange} symbol={symbol} />
        <Candles key={`candles ${exchange}`} state={state} exchange={exchange} symbol={symbol} />
        <Trades state={state} symbol={symbol} exchanges={exchanges} />
      </div>
    </>
  );
}

function Best({ state, symbol }: { state: State; symbol: string }) {
  const newest = useRef<Consolidated>(undefined);
  useTopics(
    state,
    [`consolidated.250ms:*:${symbol}`],
    (record) => {
      if (record.type === "consolidated" && record.symbol === symbol) newest.current = record;
    },
    4,
  );
  const best = newest.current;
  const spread = best?.bid_price && best.ask_price ? difference(best.ask_price, best.bid_price) : undefined;
  return (
    <section aria-label="Best bid and offer by exchange">
      <p class="best">
        <span class="bid">
          {best?.bid_price ?? "–"} <small>{best?.bid_exchange}</small>
        </span>
        <span class="offer">
          {best?.ask_price ?? "–"} <small>{best?.ask_exchange}</small>
        </span>
        <span class={spread?.startsWith("-") ? "warn" : ""}>
          <small>spread</small> {spread ?? "–"}
        </span>
      </p>
      <Table caption="Best bid and offer by exchange" heads={["exchange", "state", "#bid", "#offer", "#spread", "#bid size", "#offer size", "#age"]}>
        {best?.contributors.map(([exchange, state, ms, bid, bidSize, offer, offerSize]) => (
          <tr key={exchange}>
            <th scope="row">
              <a href={exchangeLink(exchange)}>{exchange}</a>
            </th>
            <td>
              <Badge state={state} />
            </td>
            <td class={exchange === best.bid_exchange ? "number bid strong" : "number"}>{bid}</td>
            <td class={exchange === best.ask_exchange ? "number offer strong" : "number"}>{offer}</td>
            <td class="number">{bid && offer ? difference(offer, bid) : "–"}</td>
            <td class="number">{bidSize}</td>
            <td class="number">{offerSize}</td>
            <td class="number">{age(ms)}</td>
          </tr>
        ))}
        {best?.absent.map(([exchange, reason, ms]) => (
          <tr key={exchange} class="absent">
            <th scope="row">
              <a href={exchangeLink(exchange)}>{exchange}</a>
            </th>
            <td>
              <Badge state={reason} />
            </td>
            <td colSpan={5}></td>
            <td class="number">{age(ms)}</td>
          </tr>
        ))}
      </Table>
    </section>
  );
}

function Ladder({ state, exchange, symbol }: { state: State; exchange: string; symbol: string }) {
  const book = useRef<BookSnapshot>(undefined);
  const isSound = useRef(true);
  useTopics(
    state,
    [`book.${DEPTH_LEVELS}.200ms:${exchange}:${symbol}`],
    (record) => {
      if (record.type !== "book_snapshot" && record.type !== "health") return;
      if (record.exchange !== exchange || record.symbol !== symbol || !record.conn.startsWith("derived/book.")) return;
      if (record.type === "book_snapshot") {
        book.current = record;
        isSound.current = true;
      } else isSound.current = record.state === "live" || record.state === "quiet";
    },
    5,
  );
  const now = book.current;
  if (!now) return <section class="panel" aria-label="Order book"><h2>Order book</h2><Empty>Waiting for the book of {exchange}…</Empty></section>;
  const bids = now.bids.slice(0, LEVELS);
  const offers = now.asks.slice(0, LEVELS);
  const most = Math.max(...[...bids, ...offers].map(([, size]) => Number(size)), 1e-12);
  const spread = bids[0] && offers[0] ? difference(offers[0][0], bids[0][0]) : "–";
  const row = (side: string) => ([price, size]: [string, string], i: number) => (
    <tr key={`${side}${i}`} class={side}>
      <td class="number">{price}</td>
      <td class="number">{size}</td>
      <td class="bar" aria-hidden="true">
        <svg viewBox="0 0 100 10" preserveAspectRatio="none">
          <rect width={(100 * Number(size)) / most} height="10" />
        </svg>
      </td>
    </tr>
  );
  return (
    <section class="panel" aria-label={`Order book of ${exchange}`}>
      <h2>
        Order book <small>{exchange}</small> {!isSound.current && <Badge state="suspect" />}
      </h2>
      <table class={isSound.current ? "ladder" : "ladder stale"}>
        <caption class="unseen">Order book of {exchange}, offers above bids</caption>
        <thead class="unseen">
          <tr>
            <th scope="col">price</th>
            <th scope="col">size</th>
            <th scope="col"></th>
          </tr>
        </thead>
        <tbody>
          {offers.map(row("offer")).reverse()}
          <tr class="spread">
            <td class="number" colSpan={3}>
              spread {spread}
            </td>
          </tr>
          {bids.map(row("bid"))}
        </tbody>
      </table>
      <Depth bids={now.bids} offers={now.asks} />
    </section>
  );
}

function Trades({ state, symbol, exchanges }: { state: State; symbol: string; exchanges: string[] }) {
  const trades = useRef<Trade[]>([]);
  const topics = state.withheld ? exchanges.map((id) => `trades:${id}:${symbol}`) : [`trades:*:${symbol}`];
  useTopics(
    state,
    topics,
    (record) => {
      if (record.type !== "trade" || record.symbol !== symbol) return;
      trades.current.unshift(record);
      if (trades.current.length > MOST_TRADES) trades.current.length = MOST_TRADES;
    },
    4,
  );
  return (
    <section class="panel" aria-label="Trades">
      <h2>Trades</h2>
      {trades.current.length === 0 ? (
        <Empty>None since this page was opened.</Empty>
      ) : (
        <Table caption="Trades" heads={["time", "exchange", "taker", "#price", "#size"]}>
          {trades.current.map((trade, i) => (
            <tr key={i} class={trade.side === "sell" ? "offer" : trade.side === "buy" ? "bid" : ""}>
              <td>{clock(trade.ts_event ?? trade.ts_recv)}</td>
              <td class="wrap">{trade.exchange}</td>
              <td>{trade.side === "sell" ? "sells" : trade.side === "buy" ? "buys" : "–"}</td>
              <td class="number price">{trade.price}</td>
              <td class="number">{trade.size}</td>
            </tr>
          ))}
        </Table>
      )}
    </section>
  );
}

function Candles({ state, exchange, symbol }: { state: State; exchange: string; symbol: string }) {
  const [bar, choose] = useState("10s");
  return (
    <section class="panel wide" aria-label={`Candles of ${exchange}`}>
      <h2>
        Candles <small>{exchange}</small>
      </h2>
      <fieldset class="choice">
        <legend class="unseen">Length of a candle</legend>
        {BARS.map((each) => (
          <label key={each}>
            <input type="radio" name="bar" checked={each === bar} onChange={() => choose(each)} /> {each}
          </label>
        ))}
      </fieldset>
      <Chart key={bar} state={state} exchange={exchange} symbol={symbol} bar={bar} />
    </section>
  );
}

function Chart({ state, exchange, symbol, bar }: { state: State; exchange: string; symbol: string; bar: string }) {
  const place = useRef<HTMLDivElement>(null);
  const [last, tell] = useState<Candle>();
  useEffect(() => {
    let end = () => {};
    let isOver = false;
    void import("./candles").then(({ draw }) => {
      if (place.current && !isOver) end = draw(place.current, state.feed, `candles.${bar}.500ms:${exchange}:${symbol}`, tell);
    });
    return () => {
      isOver = true;
      end();
    };
  }, [state, exchange, symbol, bar]);
  const told = last ? `open ${last.open}, high ${last.high}, low ${last.low}, close ${last.close}` : "waiting for a trade";
  return (
    <>
      <div ref={place} class="chart" role="img" aria-label={`Candles of ${bar}: ${told}`} />
      <p class="note">
        {told}. Candles are made of trades since this page was opened. Chart:{" "}
        <a href="https://www.tradingview.com/" rel="noreferrer noopener" target="_blank">
          TradingView Lightweight Charts™
        </a>
        , © TradingView, Inc.
      </p>
    </>
  );
}
