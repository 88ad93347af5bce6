/** The feed's WebSocket, as docs/feed.md has it: one connection for the page, and subscriptions counted by their users. */

import type { AnyRecord } from "../../docs/records";

export type Message = AnyRecord | { type: "subscribed" | "unsubscribed" | "hello" | "pong" } | Failure | Goodbye;
interface Failure {
  type: "error";
  error: string;
}
interface Goodbye {
  type: "bye";
  reason: string;
}

type Hearer = (record: AnyRecord) => void;

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;
const OURS = new Set(["hello", "subscribed", "unsubscribed", "pong", "error", "bye", "authenticated"]);

export class Feed {
  /** Whether the connection stands, and why it does not. */
  state: "connecting" | "open" | "closed" = "connecting";
  trouble = "";
  /** Records that have come, and those that were told as missed. */
  records = 0;
  missed = 0;
  private socket: WebSocket | undefined;
  private pause = FIRST_PAUSE_MS;
  private readonly users = new Map<string, number>();
  private readonly hearers = new Set<Hearer>();

  constructor(private readonly changed: () => void) {}

  start(): void {
    const address = new URL("/feed", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    this.socket = socket;
    socket.onopen = () => {
      this.state = "open";
      this.trouble = "";
      this.pause = FIRST_PAUSE_MS;
      if (this.users.size > 0) this.ask("subscribe", [...this.users.keys()]);
      this.changed();
    };
    socket.onmessage = (event) => this.hear(String(event.data));
    socket.onclose = () => {
      this.state = "closed";
      this.changed();
      setTimeout(() => this.start(), this.pause);
      this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
    };
  }

  /** Follow topics until the function that is given back is called. */
  follow(topics: readonly string[], hear: Hearer): () => void {
    const fresh = topics.filter((topic) => !this.users.has(topic));
    for (const topic of topics) this.users.set(topic, (this.users.get(topic) ?? 0) + 1);
    this.hearers.add(hear);
    // What others follow already is asked for again, so that its newest record comes.
    if (topics.length > 0) this.ask("subscribe", fresh.length > 0 ? fresh : topics);
    return () => {
      this.hearers.delete(hear);
      const left: string[] = [];
      for (const topic of topics) {
        const users = (this.users.get(topic) ?? 1) - 1;
        if (users > 0) this.users.set(topic, users);
        else {
          this.users.delete(topic);
          left.push(topic);
        }
      }
      if (left.length > 0) this.ask("unsubscribe", left);
    };
  }

  private ask(op: string, topics: readonly string[]): void {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    const how = op === "subscribe" ? { time: "ms" } : {};
    // A request each: of one with a topic that the token does not allow, nothing would be done.
    this.socket.send(topics.map((topic) => JSON.stringify({ op, topics: [topic], ...how })).join("\n"));
  }

  private hear(text: string): void {
    for (const line of text.split("\n")) {
      if (line === "") continue;
      const message = JSON.parse(line) as Message;
      if (message.type === "error") this.trouble = message.error;
      if (message.type === "bye") this.trouble = message.reason;
      if (OURS.has(message.type)) continue;
      this.records += 1;
      if (message.type === "lag") this.missed += message.missed;
      for (const hear of this.hearers) hear(message as AnyRecord);
    }
  }
}
