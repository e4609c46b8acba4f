/* The door `sse`: server-sent events, read by fetch, so that headers can be set and a proxy that
 * keeps the stream back is found out: the door is open when its first event has been read. */

import { type Verdict, errorOf, lost, verdictOf } from "./door.js";
import { type FanfareError, asError, timeout } from "./errors.js";
import type { Query } from "./http.js";
import { type Greeting, HttpDoor } from "./http-door.js";
import { sleep } from "./timing.js";
import { SseParser } from "./sse-parser.js";

// The server breaks every silence of 15 s.
const SILENCE_MS = 40_000;

export class SseDoor extends HttpDoor {
  readonly name = "sse";

  protected start(query: Query, signal: AbortSignal): Promise<Greeting> {
    const feed = new AbortController();
    const stop = () => feed.abort();
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop);
    return new Promise<Greeting>((resolve, reject) => {
      const timer = setTimeout(() => (reject(timeout()), stop()), this.options.timing.sseMs);
      const greet = (greeting: Greeting) => (clearTimeout(timer), resolve(greeting));
      const finish = (verdict: Verdict, error: FanfareError) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", stop);
        reject(error); // where it had not begun yet
        if (!signal.aborted) this.end(verdict);
      };
      this.#run(query, feed, greet).then(
        (verdict) => finish(verdict, errorOf(verdict)),
        (thrown) => finish(verdictOf(asError(thrown)), asError(thrown)),
      );
    });
  }

  /** Read until the end, and promise why it ended. */
  async #run(
    query: Query,
    feed: AbortController,
    greet: (greeting: Greeting) => void,
  ): Promise<Verdict> {
    const response = await this.options.http.open("/events/stream", query, feed.signal);
    const reader = response.body!.getReader();
    const parser = new SseParser();
    const decoder = new TextDecoder();
    let bye: Verdict | null = null;
    for (;;) {
      const silence = setTimeout(() => feed.abort(), SILENCE_MS);
      const { done, value } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return bye ?? lost("The stream ended.");
      for (const { event, data } of parser.push(decoder.decode(value, { stream: true }))) {
        if (feed.signal.aborted) return lost("The stream was left.");
        const body = JSON.parse(data);
        if (event === "ready") greet(body);
        else if (event === "bye") bye = body;
        else this.#hear(event, body, feed.signal);
      }
    }
  }

  #hear(event: string, body: any, signal: AbortSignal): void {
    const { sink } = this.options;
    if (event === "event") sink.event(body);
    else if (event === "signal") sink.signal(body);
    else if (event === "reset") sink.reset(body.stream, { ...body, top: body.top ?? body.position });
    else if (event === "unsubscribed") sink.unsubscribed(body.stream, body.code);
    else if (event === "auth.expiring") void this.#renew(body.expires_in, signal);
  }

  async #renew(expiresInS: number, signal: AbortSignal): Promise<void> {
    // Half of what is left is let pass: tokens that live for seconds would chase one another.
    await sleep(expiresInS * 500, signal);
    if (signal.aborted) return;
    const { tokens } = this.options;
    // Where it fails the server says `bye`, and the next door asks for a token again.
    await tokens.get(tokens.last).then(() => this.restart(), () => {});
  }
}
