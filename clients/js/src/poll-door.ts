/* The door `poll`: calls that wait for something to tell. It passes wherever HTTP does. */

import { type Verdict, verdictOf } from "./door.js";
import { asError } from "./errors.js";
import type { Query } from "./http.js";
import { type Greeting, HttpDoor, presenceIn } from "./http-door.js";
import { sleep } from "./timing.js";
import type { FanfareEvent, Position, Signal } from "./types.js";

const WAIT_S = 25;
const PAUSE_MS = 1_000;

interface Poll extends Greeting {
  events: FanfareEvent[];
  signals?: Signal[];
  resets?: { stream: string; reason: string; oldest?: number; top?: Position; position: Position }[];
  cursor: string;
  bye?: Verdict | null;
}

export class PollDoor extends HttpDoor {
  readonly name = "poll";

  protected async start(query: Query, signal: AbortSignal): Promise<Greeting> {
    // The first answer comes at once: the door is open when it is here.
    const first = await this.#call({ ...query, ...(query["cursor"] != null && { wait: 0 }) }, 0, signal);
    // Its losses are told as answers, so they are not told here too.
    if (!signal.aborted) this.#tell({ ...first, unsubscribed: [] });
    void this.#goOn(first, query["presence"], signal);
    return first;
  }

  async #goOn(last: Poll, presence: Query[string], signal: AbortSignal): Promise<void> {
    try {
      for (let poll = last; !signal.aborted; ) {
        if (poll.bye) return this.#leave(poll.bye);
        const asked = Date.now();
        const seen = presenceIn(presence, poll.positions);
        poll = await this.#call({ cursor: poll.cursor, wait: WAIT_S, presence: seen }, WAIT_S, signal);
        if (signal.aborted) return;
        this.#tell(poll);
        // Something between that answers by itself must not make us call without end.
        const isEmpty = !poll.events.length && !poll.signals?.length && !poll.bye;
        if (isEmpty && Date.now() - asked < PAUSE_MS) await sleep(PAUSE_MS, signal);
      }
    } catch (thrown) {
      if (!signal.aborted) this.end(verdictOf(asError(thrown)));
    }
  }

  async #call(query: Query, waitS: number, signal: AbortSignal): Promise<Poll> {
    const timeoutMs = waitS * 1000 + this.options.timing.callMs;
    return (await this.options.http.call<Poll>("GET", "/events", { query, signal, timeoutMs })).body;
  }

  #tell({ resets = [], events, signals = [], unsubscribed = [] }: Poll): void {
    const { sink } = this.options;
    for (const { stream, reason, oldest, position } of resets) {
      sink.reset(stream, { reason, top: position, ...(oldest !== undefined && { oldest }) });
    }
    for (const event of events) sink.event(event);
    for (const signal of signals) sink.signal(signal);
    for (const { stream, code } of unsubscribed) sink.unsubscribed(stream, code);
  }

  #leave(bye: Verdict): void {
    this.options.sink.bye(bye);
    this.end(bye);
  }
}
