/* The door `socket`: Socket.IO over WebSocket, each stream with an ack of its own.
 *
 * The socket is used once and never reconnects by itself: when to come back, and through which
 * door, is judged in one place, for all doors. */

import { type Ack, type Answers, type Door, type Sink, type Verdict, type Want, errorOf, lost } from "./door.js";
import { FanfareError, asError, closed, fromWire, isOfToken, offline, timeout } from "./errors.js";
import { sleep, type Timing } from "./timing.js";
import type { Tokens } from "./tokens.js";

const RESUME_BATCH = 100;
const BYE_GRACE_MS = 2_000;

/** As much of a Socket.IO client's socket as is used here. */
export interface SocketLike {
  on(name: string, listener: (...values: any[]) => void): unknown;
  emit(name: string, data: unknown, ack: (reply: any) => void): unknown;
  close(): unknown;
}

/** Opens a socket; `io` of socket.io-client fits. */
export type SocketFactory = (
  url: string,
  options: Record<string, unknown>,
) => SocketLike | Promise<SocketLike>;

/** The stock client, loaded only where it is used: a page may bring a smaller one. */
export const stockSocket: SocketFactory = async (url, options) => {
  const { io } = await import("socket.io-client");
  return io(url, options);
};

export interface SocketDoorOptions {
  url: string;
  path: string;
  io: SocketFactory;
  tokens: Tokens;
  timing: Timing;
  wants: () => Want[];
  sink: Sink;
}

export class SocketDoor implements Door {
  readonly name = "socket";
  #options: SocketDoorOptions;
  #socket: SocketLike | null = null;
  #fail: (error: FanfareError) => void = () => {};
  #verdict: Verdict | null = null;
  #isOpen = false;
  #life = new AbortController();

  constructor(options: SocketDoorOptions) {
    this.#options = options;
  }

  async open(): Promise<Answers> {
    const { tokens, wants } = this.#options;
    const token = await tokens.get();
    try {
      await this.#join(token).catch(async (error) => {
        if (!isOfToken(error)) throw error;
        await this.#join(await tokens.get(token));
      });
      const answers = await this.take(wants());
      // It may have ended with the last answer.
      if (this.#life.signal.aborted) throw offline();
      this.#isOpen = true;
      return answers;
    } catch (error) {
      this.close();
      throw this.#verdict ? errorOf(this.#verdict) : error;
    }
  }

  /** Connect, and resolve at the server's greeting. */
  async #join(token: string): Promise<void> {
    const { url, path, io, timing } = this.#options;
    this.#socket?.close();
    const options = {
      path,
      auth: { token },
      transports: ["websocket"],
      reconnection: false,
      forceNew: true,
    };
    const socket = await io(url, options);
    if (this.#life.signal.aborted) socket.close();
    if (this.#life.signal.aborted) throw closed();
    this.#socket = socket;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => this.#fail(timeout()), timing.socketMs);
      this.#fail = (error) => (clearTimeout(timer), reject(error));
      this.#listen(socket, () => (clearTimeout(timer), resolve()));
    });
  }

  #listen(socket: SocketLike, greet: () => void): void {
    const { sink } = this.#options;
    const hear = (name: string, handle: (data: any) => void) =>
      socket.on(name, (data) => this.#socket === socket && handle(data));
    hear("connect_error", (error) => this.#fail(refusal(error)));
    hear("disconnect", (reason) => this.#end(lost(String(reason))));
    hear("ready", (ready) => (sink.ready(ready), greet()));
    hear("event", (event) => sink.event(event));
    hear("signal", (signal) => sink.signal(signal));
    hear("reset", ({ stream, reason, position }) => sink.reset(stream, { reason, top: position }));
    hear("unsubscribed", ({ stream, code }) => sink.unsubscribed(stream, code));
    hear("auth.expiring", ({ expires_in }) => void this.#renew(expires_in));
    hear("bye", (bye) => this.#hearBye(bye));
  }

  async take(wants: Want[]): Promise<Answers> {
    const answers: Answers = new Map();
    const known = wants.filter((want) => want.after);
    const batches = known.length > 1 ? chunks(known, RESUME_BATCH) : [];
    const alone = known.length > 1 ? wants.filter((want) => !want.after) : wants;
    await Promise.all([
      ...batches.map((batch) => this.#resume(batch, answers)),
      ...alone.map((want) => this.#subscribe(want, answers)),
    ]);
    return answers;
  }

  async #resume(wants: Want[], answers: Answers): Promise<void> {
    const positions = Object.fromEntries(wants.map(({ stream, after }) => [stream, after]));
    const presence = wants.filter((want) => want.presence).map(({ stream }) => stream);
    const asked = { positions, ...(presence.length && { presence }) };
    const { streams } = await this.request("resume", asked);
    for (const want of wants) {
      const reply = streams[want.stream];
      answers.set(want, reply?.ok ? (reply as Ack) : fromWire(reply?.error));
    }
  }

  async #subscribe(want: Want, answers: Answers): Promise<void> {
    const { stream, after, history, presence } = want;
    // The own stream is watched from the start, and its position came with the greeting.
    const from = after ? { after } : history ? { history } : {};
    try {
      answers.set(want, await this.request("subscribe", { stream, ...from, ...(presence && { presence }) }));
    } catch (thrown) {
      const error = asError(thrown);
      if (["offline", "timeout"].includes(error.code)) throw error;
      answers.set(want, error);
    }
  }

  drop(stream: string): void {
    this.request("unsubscribe", { stream }).catch(() => {}); // a socket that ends forgets it too
  }

  request(name: string, data: unknown): Promise<any> {
    const socket = this.#socket;
    if (!socket) return Promise.reject(offline());
    return new Promise((resolve, reject) => {
      const end = () => (clearTimeout(timer), this.#life.signal.removeEventListener("abort", leave));
      const leave = () => (end(), reject(offline()));
      const timer = setTimeout(() => (end(), reject(timeout())), this.#options.timing.ackMs);
      if (this.#life.signal.aborted) return leave();
      this.#life.signal.addEventListener("abort", leave);
      socket.emit(name, data, (reply) => {
        end();
        if (reply?.ok) resolve(reply);
        else reject(fromWire(reply?.error));
      });
    });
  }

  close(): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#life.abort();
    this.#fail(closed());
    socket?.close();
  }

  async #renew(expiresInS: number): Promise<void> {
    // Where tokens live for less than a minute the warning comes with each new one: half of its
    // life is let pass, or the two would chase one another.
    await sleep(expiresInS * 500, this.#life.signal);
    if (this.#life.signal.aborted) return;
    const { tokens } = this.#options;
    // Where it fails the server says `bye`, and the next connect asks for a token again.
    await tokens.get(tokens.last).then((token) => this.request("auth.refresh", { token })).catch(() => {});
  }

  #hearBye(bye: Verdict): void {
    this.#verdict = bye;
    this.#options.sink.bye(bye);
    // The server closes after its `bye`; one that hangs is not waited for.
    void sleep(BYE_GRACE_MS, this.#life.signal).then(() => this.#end(bye));
  }

  #end(verdict: Verdict): void {
    if (this.#life.signal.aborted) return;
    const said = (this.#verdict ??= verdict);
    const wasOpen = this.#isOpen;
    this.close();
    if (wasOpen) this.#options.sink.ended(said);
  }
}

function refusal(error: any): FanfareError {
  if (error?.data?.code) return fromWire(error.data);
  return offline(error?.message ?? "The socket could not be opened.");
}

function chunks<T>(items: T[], size: number): T[][] {
  const starts = Array.from({ length: Math.ceil(items.length / size) }, (_, i) => i * size);
  return starts.map((start) => items.slice(start, start + size));
}
