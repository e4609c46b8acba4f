/* The parts of a client, wired: what is heard goes to those who follow, what is asked goes by the
 * door in use, and each state of the connection reaches those who depend on it. */

import { askByRest } from "./calls.js";
import type { Follower, SubscribeOptions, Subscription } from "./channel.js";
import { Connection } from "./connection.js";
import type { Door, Ready, Sink, Verdict } from "./door.js";
import { Emitter, guard } from "./emitter.js";
import { FanfareError, asError, closed } from "./errors.js";
import { Http } from "./http.js";
import { Keep } from "./keep.js";
import type { Options } from "./options.js";
import { Outbox } from "./outbox.js";
import { PollDoor } from "./poll-door.js";
import { RosterKeeper } from "./roster.js";
import { SocketDoor } from "./socket-door.js";
import { SseDoor } from "./sse-door.js";
import { Streams } from "./streams.js";
import { backoff, sleep } from "./timing.js";
import { Tokens, userOf } from "./tokens.js";
import type { DoorName, FanfareEvent, ResetWord, Roster, Signal, State } from "./types.js";

const CHANGE_DEADLINE_MS = 20_000;
const TYPING_EVERY_MS = 3_000;
const OWN = "user:me";
const IS_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export interface Types extends Record<string, unknown[]> {
  state: [State];
  /** Every event of every stream that is followed, the user's own among them. */
  event: [FanfareEvent];
  signal: [Signal];
  /** The user's own stream was reset: read anew what you hold of it. */
  user_reset: [];
  /** The server asked us to leave, and said why. */
  bye: [Verdict];
}

export class Core extends Emitter<Types> {
  readonly http: Http;
  readonly outbox: Outbox;
  readonly connection: Connection;
  readonly streams: Streams;
  readonly tokens: Tokens;
  /** The user's id; null: not known yet. */
  user: string | null = null;
  limits: Record<string, number> = {};
  /** The node that greeted us last; undefined: it did not say. */
  node: string | undefined;
  #options: Options;
  #followers = new Map<string, Set<Follower>>();
  #slugs = new Map<string, Promise<string>>();
  #typedAt = new Map<string, number>();
  #status: string | null = null;
  #life = new AbortController();

  constructor(options: Options) {
    super();
    this.#options = options;
    const { url, timing, storage, doors } = options;
    const keep = new Keep(storage);
    this.tokens = new Tokens(options.token);
    this.http = new Http(url, this.tokens, options.fetch, timing.callMs);
    this.outbox = new Outbox((name, data) => this.ask(name, data), keep);
    // What was typed is there: whoever types on is told of at once.
    this.outbox.on("sent", ({ channel }) => this.#typedAt.delete(channel));
    this.streams = new Streams({
      event: (event) => this.#hearEvent(event),
      reset: (stream, word) => this.#reset(stream, word),
      lost: (stream, error) => this.#lose(stream, error),
      level: (stream, roster) => this.#level(stream, roster),
    });
    this.streams.follow({ stream: OWN, after: null, history: 0, presence: false });
    const sink = this.#sink();
    const make = (name: DoorName, whole: Sink) => this.#make(name, whole);
    this.connection = new Connection({ doors, make, sink, streams: this.streams, timing, keep });
    this.connection.on("state", (state) => this.#hearState(state));
    this.#meet(options.user);
  }

  /** Ask the server, by the socket where there is one, else by REST. */
  async ask(name: string, data: unknown): Promise<any> {
    const { door } = this.connection;
    if (!door?.request) return askByRest(this.http, name, data);
    return door.request(name, data).catch((error: FanfareError) => {
      // Frames get lost on their way: another door may work.
      if (error.code === "timeout" && this.connection.door === door) {
        this.connection.leave("suspect", error.message);
      }
      throw error;
    });
  }

  /** Ask for something that names its end state, so that it may be asked again; for a while. */
  change(name: string, data: unknown): Promise<any> {
    return this.#insist(() => this.ask(name, data), Date.now() + CHANGE_DEADLINE_MS);
  }

  async #insist<Result>(work: () => Promise<Result>, deadline = Infinity): Promise<Result> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await work();
      } catch (thrown) {
        const error = asError(thrown);
        if (!error.retryable || Date.now() > deadline) throw error;
        await sleep(error.retryAfterS * 1000 + backoff(attempt), this.#life.signal);
        if (this.#life.signal.aborted) throw closed();
      }
    }
  }

  typing(channel: string): void {
    const now = Date.now();
    if (now - (this.#typedAt.get(channel) ?? 0) < TYPING_EVERY_MS) return;
    this.#typedAt.set(channel, now);
    this.ask("typing", { channel }).catch(() => {}); // a signal: it may be lost
  }

  /** Set the status in which others see this connection; set again at each socket. */
  async setStatus(status: string): Promise<void> {
    this.#status = status;
    await this.connection.door?.request?.("presence.set", { status });
  }

  follow(id: string, follower: Follower, options: SubscribeOptions): Subscription {
    let stream = "";
    const isNew = this.#resolve(id).then((found) => this.#begin((stream = found), follower, options));
    isNew.catch((error) => follower.lose(error));
    const streams = this.streams;
    return {
      ready: follower.ready,
      get position() {
        return streams.position(stream);
      },
      stop: () => this.#stop(isNew, stream, follower),
    };
  }

  close(): void {
    this.#life.abort();
    this.connection.stop();
    this.streams.close();
    this.outbox.close();
    for (const follower of [...this.#followers.values()].flatMap((some) => [...some])) {
      follower.fail(closed());
    }
  }

  /** The full name of a channel's stream. */
  #resolve(id: string): Promise<string> {
    if (IS_ID.test(id)) return Promise.resolve(`channel:${id}`);
    const found = this.#slugs.get(id) ?? this.#lookUp(id);
    this.#slugs.set(id, found);
    found.catch(() => this.#slugs.delete(id));
    return found;
  }

  async #lookUp(slug: string): Promise<string> {
    return `channel:${(await this.#insist(() => this.http.get(`/channels/${slug}`))).id}`;
  }

  async #begin(stream: string, follower: Follower, options: SubscribeOptions): Promise<void> {
    const { after = null, history = 0, presence = false } = options;
    const others = this.#followers.get(stream) ?? new Set();
    const isFollowed = this.streams.has(stream);
    if (isFollowed && (after || history)) {
      // To ignore it would be to give a part in silence.
      throw new FanfareError("conflict", "The channel is followed already.");
    }
    this.#followers.set(stream, others.add(follower));
    if (presence) this.#keepRoster(stream, follower);
    this.streams.follow({ stream, after, history, presence });
    if (isFollowed) this.streams.again(stream, presence);
  }

  #keepRoster(stream: string, follower: Follower): void {
    const read = () => this.http.get<Roster>(`/channels/${stream.slice(8)}/presence`);
    follower.roster = new RosterKeeper(read, (roster) =>
      guard(() => follower.handlers.presence?.(roster)),
    );
  }

  #stop(isNew: Promise<void>, stream: string, follower: Follower): void {
    // It may be stopped before its channel was found.
    if (!stream) return void isNew.then(() => this.#forget(follower), () => {});
    this.#forget(follower);
  }

  #forget(follower: Follower): void {
    for (const [stream, some] of this.#followers) {
      if (!some.delete(follower) || some.size) continue;
      this.#followers.delete(stream);
      this.streams.unfollow(stream);
    }
  }

  #make(name: DoorName, sink: Sink): Door {
    const { http, tokens, streams } = this;
    const { timing, url, io } = this.#options;
    const common = { tokens, timing, sink, wants: () => streams.wants() };
    if (name === "sse") return new SseDoor({ ...common, http });
    if (name === "poll") return new PollDoor({ ...common, http });
    const { origin, pathname } = new URL(url);
    return new SocketDoor({ ...common, io, url: origin, path: `${pathname.replace(/\/$/, "")}/socket.io` });
  }

  #sink(): Omit<Sink, "ended"> {
    const { streams } = this;
    return {
      ready: (ready) => this.#greet(ready),
      event: (event) => streams.receive(event),
      signal: (signal) => this.#hearSignal(signal),
      reset: (stream, word) => streams.receiveReset(stream, word),
      unsubscribed: (stream, code) => streams.receiveLoss(stream, code),
      bye: (bye) => this.emit("bye", bye),
    };
  }

  #greet({ user, position, limits, node }: Ready): void {
    this.node = node;
    this.limits = limits ?? this.limits;
    if (position) this.streams.begin(OWN, position);
    this.#meet(user?.["id"]);
  }

  #meet(user: string | null | undefined): void {
    if (!user || this.user) return;
    this.user = user;
    this.outbox.load(user);
  }

  #hearState(state: State): void {
    this.#meet(userOf(this.tokens.last));
    if (state.state === "live") this.outbox.connect();
    else this.outbox.disconnect();
    if (state.door === "socket" && this.#status) this.setStatus(this.#status).catch(() => {});
    this.emit("state", state);
  }

  #hearEvent(event: FanfareEvent): void {
    const position = this.streams.position(event.stream);
    if (event.actor === this.user && position) this.outbox.hear(event, position);
    for (const { handlers } of this.#those(event.stream)) guard(() => handlers.event?.(event));
    this.emit("event", event);
  }

  #hearSignal(signal: Signal): void {
    for (const { handlers, roster } of this.#those(signal.stream)) {
      roster?.hear(signal);
      guard(() => handlers.signal?.(signal));
    }
    this.emit("signal", signal);
  }

  async #reset(stream: string, word: ResetWord): Promise<unknown> {
    if (stream === OWN) this.emit("user_reset");
    const answers = this.#those(stream).map(({ handlers }) => handlers.reset?.(word));
    const positions = (await Promise.all(answers)).filter((one) => !!one);
    // The one that is furthest back: the others drop what they had by its offset.
    return positions.sort((a, b) => a!.offset - b!.offset)[0];
  }

  #lose(stream: string, error: FanfareError): void {
    const those = this.#those(stream);
    this.#followers.delete(stream);
    for (const follower of those) follower.lose(error);
  }

  #level(stream: string, roster: Roster | null | undefined): void {
    for (const follower of this.#those(stream)) {
      void follower.roster?.begin(roster);
      follower.level();
    }
  }

  #those(stream: string): Follower[] {
    return [...(this.#followers.get(stream) ?? [])];
  }
}
