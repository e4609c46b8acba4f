/* What the doors over plain HTTP have in common: one feed of all streams, begun from positions.
 *
 * To follow more streams, the feed begins anew from where each stream stands: positions are the
 * truth, and the server keeps nothing of us. */

import { type Ack, type Answers, type Door, type Sink, type Verdict, type Want, verdictOf } from "./door.js";
import { FanfareError, asError, closed } from "./errors.js";
import type { Http, Query } from "./http.js";
import type { Timing } from "./timing.js";
import type { Tokens } from "./tokens.js";
import type { DoorName, FanfareEvent, Position } from "./types.js";

// Longer addresses are refused by some proxies.
const MAX_QUERY_CHARS = 1_800;
// As many as the server takes: 128 channels and the own stream.
const MAX_STREAMS = 129;

export interface HttpDoorOptions {
  http: Http;
  tokens: Tokens;
  timing: Timing;
  wants: () => Want[];
  sink: Sink;
}

/** How a feed begins: where it stands in every stream, by full names. */
export interface Greeting {
  streams?: Record<string, string>;
  node?: string | undefined;
  positions: Record<string, Position>;
  unsubscribed?: { stream: string; code: string }[];
}

export abstract class HttpDoor implements Door {
  abstract readonly name: DoorName;
  protected options: HttpDoorOptions;
  #feed: AbortController | null = null;
  #turn: Promise<unknown> = Promise.resolve();
  #isOpen = false;
  #isClosed = false;

  constructor(options: HttpDoorOptions) {
    this.options = options;
  }

  /** Begin a feed, and go on with it until `signal` ends it, or it ends: then call `end`. */
  protected abstract start(query: Query, signal: AbortSignal): Promise<Greeting>;

  async open(): Promise<Answers> {
    try {
      const answers = await this.#inTurn(true);
      if (this.#isClosed) throw closed();
      this.#isOpen = true;
      return answers;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  take(): Promise<Answers> {
    return this.#again(true);
  }

  drop(): void {
    this.#again(false).catch(() => {}); // it has ended the door, and said so there
  }

  close(): void {
    this.#isClosed = true;
    this.#feed?.abort();
  }

  /** Begin the feed anew, as with a fresh token. */
  protected restart(): void {
    this.drop();
  }

  protected end(verdict: Verdict): void {
    if (this.#isClosed) return;
    this.close();
    if (this.#isOpen) this.options.sink.ended(verdict);
  }

  #again(withNew: boolean): Promise<Answers> {
    return this.#inTurn(withNew).catch((thrown) => {
      this.end(verdictOf(asError(thrown)));
      throw thrown;
    });
  }

  #inTurn(withNew: boolean): Promise<Answers> {
    const begun = this.#turn.then(() => this.#begin(withNew));
    this.#turn = begun.catch(() => {});
    return begun;
  }

  async #begin(withNew: boolean): Promise<Answers> {
    if (this.#isClosed) throw closed();
    this.#feed?.abort();
    const feed = (this.#feed = new AbortController());
    const all = this.options.wants().filter((want) => withNew || want.after);
    const wants = all.slice(0, MAX_STREAMS);
    const answers: Answers = await this.#readHistory(wants, feed.signal);
    for (const want of all.slice(MAX_STREAMS)) answers.set(want, tooMany());
    const positions = new Map(wants.map((want) => [want, placeOf(want, answers)]));
    const rest = wants.filter((want) => !(answers.get(want) instanceof Error));
    const { query, known } = await this.#query(rest, positions, feed.signal);
    const heard = merge(known, await this.start(query, feed.signal));
    for (const want of rest) {
      answers.set(want, answers.get(want) ?? answerOf(want, heard));
    }
    this.options.sink.ready({ user: { id: heard.streams?.["user:me"]?.slice(5) }, node: heard.node });
    return answers;
  }

  /** The last events of streams that are new to us; from there the feed goes on. */
  async #readHistory(wants: Want[], signal: AbortSignal): Promise<Answers> {
    const answers: Answers = new Map();
    const fresh = wants.filter((want) => !want.after && want.history);
    for (const want of fresh) {
      const query = { streams: want.stream, history: want.history };
      try {
        const { body } = await this.options.http.call("GET", "/events", { query, signal });
        answers.set(want, historyOf(want, body));
      } catch (thrown) {
        const error = asError(thrown);
        if (error.code !== "not_found") throw error;
        answers.set(want, error);
      }
    }
    return answers;
  }

  async #query(wants: Want[], places: Map<Want, Position | null>, signal: AbortSignal) {
    const presence = presenceOf(wants);
    const streams = wants.map((want) => named(want.stream, places.get(want)!)).join(",");
    if (streams.length <= MAX_QUERY_CHARS) return { query: { streams, presence }, known: null };
    const all = Object.fromEntries(wants.map((want) => [want.stream, places.get(want)]));
    const asked = { body: { streams: all }, signal };
    const { body } = await this.options.http.call("POST", "/events/cursor", asked);
    const seen = presenceIn(presence, body.positions);
    return { query: { cursor: body.cursor, presence: seen }, known: body as Greeting };
  }
}

/** Where we are to be seen: in all channels, or in those of these names. */
function presenceOf(wants: Want[]): string | undefined {
  const channels = wants.filter(({ stream }) => stream.startsWith("channel:"));
  const seen = channels.filter(({ presence }) => presence).map(({ stream }) => stream);
  if (seen.length < channels.length) return seen.join(",") || undefined;
  return seen.length ? "true" : undefined;
}

/** The same, without what was lost: the server takes names of what is followed alone. */
export function presenceIn(presence: Query[string], positions: Record<string, Position>): string | undefined {
  if (typeof presence !== "string" || presence === "true") return presence as string | undefined;
  return presence.split(",").filter((name) => positions[name]).join(",") || undefined;
}

function tooMany(): FanfareError {
  return new FanfareError("too_many_subscriptions", "There are too many streams.");
}

function named(stream: string, at: Position | null): string {
  return at ? `${stream}@${at.offset}/${at.epoch}` : stream;
}

function placeOf(want: Want, answers: Answers): Position | null {
  const answer = answers.get(want);
  return want.after ?? (answer && !(answer instanceof Error) ? answer.position : null);
}

function merge(known: Greeting | null, greeting: Greeting): Greeting {
  return {
    ...greeting,
    streams: { ...known?.streams, ...greeting.streams },
    unsubscribed: [...(known?.unsubscribed ?? []), ...(greeting.unsubscribed ?? [])],
  };
}

function answerOf(want: Want, { streams, positions, unsubscribed }: Greeting): Ack | FanfareError {
  const full = streams?.[want.stream] ?? want.stream;
  const loss = unsubscribed?.find(({ stream }) => stream === full || stream === want.stream);
  if (loss) return new FanfareError(loss.code, "The stream may not be read.");
  // Where we stood before the feed, we stand now: what comes after it is told by events.
  const position = want.after ?? positions[full];
  if (!position) return new FanfareError("internal", `No position of ${full}.`, { retryable: true });
  return { position, events: [], more: false, reset: null };
}

function historyOf(want: Want, body: Greeting & { events: FanfareEvent[] }): Ack | FanfareError {
  const answer = answerOf(want, body);
  return answer instanceof Error ? answer : { ...answer, events: body.events };
}
