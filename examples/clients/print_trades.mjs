// Print the trades of a running daemon from Node, which needs no package for that:
//     node print_trades.mjs /run/aggregator/feed.sock 'trades:*:BTC/USDT'
//     node print_trades.mjs 127.0.0.1:8790 'trades:*:BTC/USDT'
// Editors take the types from docs/records.d.ts, which is made from the records.
// @ts-check

import net from "node:net";
import readline from "node:readline";

/** @typedef {import("../../docs/records.d.ts").AnyRecord} AnyRecord */
/** @typedef {{ type: "hello" | "subscribed" } | { type: "bye", reason: string } | { type: "error", error: string }} Said */

const [address, ...topics] = process.argv.slice(2);
const place = /^(.*):(\d+)$/.exec(address);
const socket = place ? net.connect(Number(place[2]), place[1]) : net.connect(address);

socket.on("error", (error) => {
  console.error(`${address}: ${error.message}`);
  process.exitCode = 1;
});

// Nanoseconds are more than a number of JavaScript holds exactly; microseconds are not.
socket.write(JSON.stringify({ op: "subscribe", topics, time: "us" }) + "\n");

let goodbye = "";
for await (const line of readline.createInterface({ input: socket })) {
  /** @type {AnyRecord | Said} */
  const said = JSON.parse(line);
  switch (said.type) {
    case "trade":
      console.log(said.exchange, said.symbol, said.side ?? "-", said.size, "at", said.price);
      break;
    case "gap":
      if (said.phase === "open") console.log(said.exchange, said.symbol, "something is missing from here on:", said.cause);
      break;
    case "lag":
      console.log("this program was too slow:", said.missed, "records are lost");
      break;
    case "error":
      console.error(said.error);
      break;
    case "bye":
      goodbye = said.reason;
      break;
  }
}
console.log(goodbye ? `the feed has ended: ${goodbye}` : "the connection was cut");
