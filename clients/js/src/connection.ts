/* Which door is in use: the best that works, and up again when a better one does.
 *
 * A door is taken when it is ready, and a better one is opened beside the one in use before that
 * is let go. What was missed, or heard twice, at a switch is judged by positions (streams.ts). */

import { type Door, type Sink, type Verdict, verdictOf } from "./door.js";
import { type FanfareError, asError, closed, isOfNetwork, isOfToken, offline } from "./errors.js";
import { Emitter } from "./emitter.js";
import type { Keep } from "./keep.js";
import type { Streams } from "./streams.js";
import { backoff, sleep, type Timing } from "./timing.js";
import type { DoorName, State } from "./types.js";

export const DOORS: readonly DoorName[] = ["socket", "sse", "poll"];
const REMEMBERED = "fanfare.door";
// A server that lets us in and cuts us off at once must not be hammered: only a door that held for
// so long starts the back-off afresh.
const STEADY_MS = 10_000;

export interface ConnectionOptions {
  doors: readonly DoorName[];
  make: (name: DoorName, sink: Sink) => Door;
  /** Where what is heard goes; how a door ends is heard here. */
  sink: Omit<Sink, "ended">;
  streams: Streams;
  timing: Timing;
  keep: Keep;
}

interface Opened {
  door: Door;
  /** Set when it has ended. */
  verdict: Verdict | null;
}

export class Connection extends Emitter<{ state: [State] }> {
  state: State = { state: "connecting", door: null, detail: "", code: "", retry_at: 0 };
  #options: ConnectionOptions;
  #current: Opened | null = null;
  #candidate: Door | null = null;
  #life = new AbortController();
  #pause = new AbortController();
  #hearEnd: (verdict: Verdict) => void = () => {};
  #isRunning = false;
  #wasLive = false;
  #attempt = 0;
  #forced: DoorName | null = null;
  #last: DoorName | null;
  // The socket did not answer: the next try is a door below it.
  #isSuspect = false;
  #probes = 0;
  #probeTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ConnectionOptions) {
    super();
    this.#options = options;
    this.#last = options.keep.get(REMEMBERED);
  }

  /** The door in use; null: none. */
  get door(): Door | null {
    return this.#current?.door ?? null;
  }

  start(): void {
    if (this.#isRunning) return this.retryNow();
    this.#life = new AbortController();
    this.#attempt = 0;
    void this.#run(this.#life.signal);
  }

  stop(): void {
    this.#life.abort();
    this.#candidate?.close();
    this.#drop();
    this.#wake();
    this.#hearEnd({ code: "closed", detail: closed().message, retry: "never", retry_after: 0 });
  }

  /** Skip the rest of a wait, and try a better door at once: the network or the user came back. */
  retryNow(): void {
    this.#wake();
    this.#probes = 0;
    void this.#probe();
  }

  /** Use this door alone, whether it works or not; null: the best that works. */
  force(name: DoorName | null): void {
    this.#forced = name;
    if (!this.#isRunning) return;
    this.#candidate?.close();
    this.#candidate = null;
    if (!name || !this.door || this.door.name === name) return this.retryNow();
    // The one in use is kept until the forced one is ready, or is known not to work.
    void this.#probe([name]).then(() => {
      if (this.#forced === name && this.door && this.door.name !== name) this.leave("forced");
    });
  }

  /** Leave the door in use, and come back at once; `suspect`: by a lower one. */
  leave(code: "suspect" | "forced", detail = ""): void {
    this.#isSuspect = code === "suspect";
    this.#attempt = 0;
    this.#drop();
    this.#hearEnd({ code, detail, retry: "now", retry_after: 0 });
  }

  async #run(life: AbortSignal): Promise<void> {
    this.#isRunning = true;
    while (!life.aborted) {
      const error = await this.#openOne(life);
      const verdict = error ? verdictOf(error) : await this.#stay();
      if (life.aborted) break;
      if (verdict.retry === "never") {
        this.#isRunning = false;
        return this.#tell({ state: "ended", ...verdict });
      }
      await this.#wait(verdict, life);
    }
    this.#isRunning = false;
    this.#tell({ state: "ended", code: "closed", detail: closed().message });
  }

  /** Try the doors in their order; give the last error where none would open. */
  async #openOne(life: AbortSignal): Promise<FanfareError | null> {
    let last: FanfareError | null = null;
    for (const name of this.#order()) {
      if (!this.#allowed().includes(name)) continue; // another one was forced meanwhile
      this.#tellDown({ code: last?.code ?? "", detail: last?.message ?? "" });
      try {
        await this.#open(name, life);
        return null;
      } catch (thrown) {
        last = asError(thrown);
      }
      // What the server itself says, it says at every door.
      const isWord = !isOfNetwork(last) && (last.retryable || isOfToken(last)) && last.code !== "internal";
      if (life.aborted || isWord) break;
    }
    this.#isSuspect = false;
    return last ?? offline("No door is left.");
  }

  /** The last that worked first, then the best first. */
  #order(): DoorName[] {
    const allowed = this.#allowed();
    const fit = allowed.filter((name) => !this.#isSuspect || name !== "socket");
    const names = fit.length ? fit : allowed;
    return names.sort((a, b) => Number(b === this.#last) - Number(a === this.#last));
  }

  #allowed(): DoorName[] {
    const { doors } = this.#options;
    return DOORS.filter((name) => (this.#forced ? name === this.#forced : doors.includes(name)));
  }

  async #open(name: DoorName, life: AbortSignal): Promise<void> {
    const { make, sink, streams } = this.#options;
    const opened: Opened = { door: null!, verdict: null };
    opened.door = make(name, {
      ...sink,
      bye: (verdict) => this.#current === opened && sink.bye(verdict),
      ended: (verdict) => this.#hearDoor(opened, verdict),
    });
    this.#candidate = opened.door;
    try {
      await streams.open(opened.door);
    } finally {
      if (this.#candidate === opened.door) this.#candidate = null;
    }
    if (!life.aborted && !opened.verdict) return this.#adopt(opened);
    opened.door.close();
    streams.leave(opened.door);
    throw offline(opened.verdict?.detail);
  }

  #adopt(opened: Opened): void {
    const { door: old } = this;
    this.#current = opened;
    old?.close();
    const { name } = opened.door;
    this.#isSuspect = false;
    this.#wasLive = true;
    this.#last = name;
    if (!this.#forced) this.#options.keep.set(REMEMBERED, name);
    this.#tell({ state: "live", door: name });
    this.#scheduleProbe();
  }

  #hearDoor(opened: Opened, verdict: Verdict): void {
    opened.verdict = verdict;
    if (this.#current !== opened) return;
    this.#drop();
    this.#hearEnd(verdict);
  }

  #drop(): void {
    const { door } = this;
    this.#current = null;
    clearTimeout(this.#probeTimer);
    if (!door) return;
    this.#candidate?.close();
    this.#options.streams.leave(door);
    door.close();
  }

  /** Promise why the connection ended, over all doors that followed one another meanwhile. */
  async #stay(): Promise<Verdict> {
    const since = Date.now();
    const verdict = await new Promise<Verdict>((resolve) => (this.#hearEnd = resolve));
    this.#hearEnd = () => {};
    if (Date.now() - since > STEADY_MS) this.#attempt = 0;
    return verdict;
  }

  async #wait({ code, detail, retry, retry_after }: Verdict, life: AbortSignal): Promise<void> {
    if (code === "suspect" || code === "forced") return;
    const { backoffMs, backoffCapMs } = this.#options.timing;
    const askedMs = retry === "later" ? (retry_after || 0) * 1000 : 0;
    const ms = askedMs + backoff(this.#attempt++, backoffMs, backoffCapMs);
    this.#tellDown({ code, detail, retry_at: Date.now() + ms });
    this.#pause = new AbortController();
    if (!life.aborted) await sleep(ms, this.#pause.signal);
  }

  #wake(): void {
    this.#pause.abort();
  }

  #scheduleProbe(): void {
    clearTimeout(this.#probeTimer);
    if (!this.#better().length) return void (this.#probes = 0);
    const { probeMs, probeCapMs } = this.#options.timing;
    // The first after a fixed time, the later ones spread over twice the one before.
    const more = this.#probes++ ? backoff(this.#probes - 2, probeMs, probeCapMs - probeMs) : 0;
    this.#probeTimer = setTimeout(() => void this.#probe(), probeMs + more);
  }

  #better(): DoorName[] {
    const allowed = this.#allowed();
    return this.door ? allowed.slice(0, Math.max(0, allowed.indexOf(this.door.name))) : [];
  }

  /** Open a better door beside the one in use, and then let that go. */
  async #probe(names = this.#better()): Promise<void> {
    if (this.#candidate || !this.door || !names.length) return;
    const life = this.#life.signal;
    for (const name of names) {
      const isOpen = await this.#open(name, life).then(() => true, () => false);
      if (isOpen || !this.door || life.aborted) return;
    }
    this.#scheduleProbe();
  }

  #tellDown(facts: Partial<State>): void {
    const isOffline = globalThis.navigator?.onLine === false;
    const state = isOffline ? "offline" : this.#wasLive ? "reconnecting" : "connecting";
    this.#tell({ ...facts, state });
  }

  #tell({ state = "connecting", door = null, detail = "", code = "", retry_at = 0 }: Partial<State>): void {
    const next: State = { state, door, detail, code, retry_at };
    if (JSON.stringify(next) === JSON.stringify(this.state)) return;
    this.state = next;
    this.emit("state", next);
  }
}
