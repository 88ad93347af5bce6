/** The words of the page, for who sees it for the first time. */

const STATES: [string, string][] = [
  ["subscribing", "the exchange is asked for it, and has not answered"],
  ["syncing", "the exchange has agreed, and nothing has come yet"],
  ["live", "data come; of a book, once it is whole"],
  ["quiet", "nothing comes, as it may be in a quiet market"],
  ["stalled", "nothing comes though it should, and it is asked for again"],
  ["suspect", "something is missing, and a gap is open"],
  ["down", "it is refused, no longer listed, or without a connection; the reason stands beside it"],
  ["absent", "it is wanted, and there is no such market now: misspelled, halted or not listed"],
];

const WORDS: [string, string][] = [
  ["exchange", "up where each of its topics is live or quiet, partly where some are, down where none is"],
  ["channel", "a kind of data: trades, the order book, best prices (bbo), tickers, candles, funding and others"],
  ["topic", "one channel of one market at one exchange"],
  ["record", "one message of the stream: a trade, a change of a book"],
  ["gap", "a time in which something is missing, with its cause; it is open until data are whole again"],
  ["age", "the time since the last record"],
  ["lag", "how much later than the exchange\u2019s own time records come"],
  ["drift", "differences of an exchange\u2019s messages from what they have always been"],
  ["sink", "a place where records are written: files, a database, a broker"],
  ["client", "a program that follows topics, and this page is one; lags count how often it was too slow, missed what it lost by that"],
  ["coverage", "how much of the time that a topic was followed is in a recording without a loss"],
  ["taker", "the side of a trade that came later: who buys takes an offer, who sells takes a bid"],
];

export function Help() {
  return (
    <>
      <h1>Help</h1>
      <p>
        A daemon gathers public market data of crypto exchanges into one stream, and this page is one of its clients. <a href="#/overview">Overview</a> says how each exchange
        fares, <a href="#/markets">Markets</a> what prices are, <a href="#/topics">Topics</a> how each single feed is, <a href="#/coverage">Coverage</a> how complete a recording
        is, and the <a href="#/catalogue">Catalogue</a> which exchanges there are at all. An exchange or a market is a link wherever it stands.
      </p>
      <p>
        By the keyboard: <kbd>Tab</kbd> goes on, <kbd>/</kbd> goes to the search, <kbd>Enter</kbd> follows a link or opens a row; a table that is wider than the screen scrolls with
        the arrows.
      </p>
      <h2>States of a topic</h2>
      <List of={STATES} />
      <h2>Words</h2>
      <List of={WORDS} />
    </>
  );
}

function List({ of }: { of: [string, string][] }) {
  return (
    <dl class="words">
      {of.map(([word, meaning]) => (
        <div key={word}>
          <dt>{word}</dt>
          <dd>{meaning}</dd>
        </div>
      ))}
    </dl>
  );
}
