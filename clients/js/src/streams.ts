/* The streams that are followed: every event once, in order, across cuts and doors.
 *
 * Each stream's position is the one truth: an event is taken if it is the next one, dropped if it
 * was had, and put aside if others are missing before it. So two doors may speak at once, and
 * nothing here has to trust the seam between history and live. */

import type { Ack, Answers, Door, Want } from "./door.js";
import { FanfareError, asError } from "./errors.js";
import { backoff, sleep } from "./timing.js";
import type { FanfareEvent, Position, ResetWord, Roster } from "./types.js";

const MAX_HELD = 2_000;

export interface StreamListener {
  event(event: FanfareEvent): void;
  /** The log can't be gone on from. Promises the position of a new snapshot; none: go on at the top. */
  reset(stream: string, word: ResetWord): unknown;
  lost(stream: string, error: FanfareError): void;
  /** The stream is followed by the door in use. */
  level(stream: string, roster: Roster | null | undefined): void;
}

interface Entry extends Want {
  /** The door that follows it. */
  taken: Door | null;
  held: FanfareEvent[];
  /** How often something was found missing, and how many of these times what was asked later heals. */
  gaps: number;
  healed: number;
  /** The number of the reset whose answer is awaited; else 0. */
  resetting: number;
}

export class Streams {
  #listener: StreamListener;
  #entries = new Map<string, Entry>();
  #door: Door | null = null;
  #asking = 0;
  #taking = false;
  /** While it took, something more was to be taken. */
  #isMore = false;
  #scheduled = false;
  #resets = 0;
  #life = new AbortController();
  // An answer is for who asked: a stream may have been left and be followed anew meanwhile.
  #askers = new WeakMap<Want, { entry: Entry; gaps: number }>();

  constructor(listener: StreamListener) {
    this.#listener = listener;
  }

  get size(): number {
    return this.#entries.size;
  }

  has(stream: string): boolean {
    return this.#entries.has(stream);
  }

  position(stream: string): Position | null {
    return this.#find(stream)?.after ?? null;
  }

  /** Follow a stream. One that is followed is left as it is. */
  follow(want: Want): void {
    if (this.#entries.has(want.stream)) return;
    const rest = { taken: null, held: [], gaps: 0, healed: 0, resetting: 0 };
    this.#entries.set(want.stream, { ...want, ...rest });
    this.#schedule();
  }

  /** Ask for a stream that is followed once more, for a listener who came later. */
  again(stream: string, presence: boolean): void {
    const entry = this.#entries.get(stream);
    if (!entry) return;
    entry.presence ||= presence;
    entry.taken = null;
    this.#schedule();
  }

  unfollow(stream: string): void {
    if (this.#entries.delete(stream)) this.#door?.drop(stream);
  }

  /** Forget everything. */
  close(): void {
    this.#entries.clear();
    this.#door = null;
    this.#life.abort();
  }

  /** Begin at a position, where none is known yet. */
  begin(stream: string, position: Position): void {
    const entry = this.#entries.get(stream);
    if (entry) entry.after ??= position;
  }

  /** All that is to be followed, from where it stands now. */
  wants(): Want[] {
    return [...this.#entries.values()].map((entry) => this.#ask(entry));
  }

  /** Open a door and follow everything through it; one that is in use stays so meanwhile. */
  open(door: Door): Promise<void> {
    return this.#while(async () => {
      const answers = await door.open();
      this.#door = door;
      this.#merge(answers, door);
      this.#schedule(); // where there is more to read
    });
  }

  /** A door is not in use any more. */
  leave(door: Door): void {
    if (this.#door === door) this.#door = null;
  }

  receive(event: FanfareEvent): void {
    const entry = this.#find(event.stream);
    if (!entry) return;
    this.#accept(entry, event);
    if (!this.#asking) this.#drain(entry);
  }

  receiveReset(stream: string, word: ResetWord): void {
    const entry = this.#find(stream);
    if (entry) void this.#replace(entry, word);
  }

  receiveLoss(stream: string, code: string): void {
    const entry = this.#find(stream);
    if (entry) this.#lose(entry, new FanfareError(code, "The stream may not be read."));
  }

  // Nobody reads other people's streams, so one that is a user's is our own.
  #find(stream: string): Entry | undefined {
    return this.#entries.get(stream) ??
      (stream.startsWith("user:") ? this.#entries.get("user:me") : undefined);
  }

  #lose(entry: Entry, error: FanfareError): void {
    if (!this.#isHere(entry)) return;
    this.#entries.delete(entry.stream);
    this.#listener.lost(entry.stream, error);
  }

  #isHere(entry: Entry): boolean {
    return this.#entries.get(entry.stream) === entry;
  }

  #ask(entry: Entry): Want {
    const { stream, after, history, presence } = entry;
    const want = { stream, after, history, presence };
    this.#askers.set(want, { entry, gaps: entry.gaps });
    return want;
  }

  /** While answers are awaited, what comes too early is put aside, and not asked for again. */
  async #while(work: () => Promise<void>): Promise<void> {
    this.#asking++;
    try {
      await work();
    } finally {
      this.#asking--;
      this.#rest();
    }
  }

  #rest(): void {
    if (this.#asking) return;
    for (const entry of this.#entries.values()) this.#drain(entry);
  }

  #merge(answers: Answers, door: Door): void {
    for (const [want, answer] of answers) {
      const { entry, gaps } = this.#askers.get(want)!;
      if (!this.#isHere(entry)) continue; // left meanwhile
      if (!(answer instanceof FanfareError)) this.#settle(entry, answer, door, gaps);
      else if (answer.retryable) this.#later(answer);
      else this.#lose(entry, answer);
    }
  }

  #settle(entry: Entry, ack: Ack, door: Door, gaps: number): void {
    const { events, position, more, reset, presence } = ack;
    const isNews = !more && entry.taken !== door;
    entry.healed = Math.max(entry.healed, gaps);
    entry.taken = more ? null : door;
    if (reset) void this.#replace(entry, { ...reset, top: position });
    else this.#catchUp(entry, events, position);
    if (isNews) this.#listener.level(entry.stream, presence);
  }

  #catchUp(entry: Entry, events: FanfareEvent[], position: Position): void {
    const first = events[0]?.offset ?? position.offset + 1;
    entry.after ??= { offset: first - 1, epoch: position.epoch };
    // From here on the position moves by events alone, never by a word that some were passed over.
    for (const event of events) this.#accept(entry, event);
  }

  #accept(entry: Entry, event: FanfareEvent): void {
    const { after, resetting } = entry;
    if (!after || resetting || event.offset > after.offset + 1) return this.#hold(entry, event);
    if (event.offset <= after.offset) return;
    entry.after = { offset: event.offset, epoch: after.epoch };
    this.#listener.event(event);
  }

  #hold(entry: Entry, event: FanfareEvent): void {
    // Beyond the bound the newest are let go: the gap they leave is read from the log.
    if (entry.held.length < MAX_HELD) entry.held.push(event);
    else entry.gaps++;
  }

  /** Take what was put aside as far as nothing is missing; for what is, ask the log. */
  #drain(entry: Entry): void {
    if (entry.resetting || (!entry.held.length && entry.gaps === entry.healed)) return;
    const held = entry.held.sort((a, b) => a.offset - b.offset);
    entry.held = [];
    for (const event of held) this.#accept(entry, event);
    if (!entry.held.length && entry.gaps === entry.healed) return;
    // They come again: what the log gives goes on to its top, and the door's own follows it.
    entry.held = [];
    entry.gaps++;
    entry.taken = null;
    this.#schedule();
  }

  async #replace(entry: Entry, word: ResetWord): Promise<void> {
    const round = (entry.resetting = ++this.#resets);
    entry.held = [];
    entry.after = word.top;
    for (let attempt = 0; entry.resetting === round && this.#isHere(entry); attempt++) {
      try {
        const position = (await this.#listener.reset(entry.stream, word)) as Position | undefined;
        if (entry.resetting === round) this.#goOn(entry, position ?? word.top, word.top);
        return;
      } catch (thrown) {
        const error = asError(thrown);
        if (!error.retryable) return this.#lose(entry, error);
        await sleep(error.retryAfterS * 1000 + backoff(attempt), this.#life.signal);
      }
    }
  }

  #goOn(entry: Entry, position: Position, top: Position): void {
    entry.resetting = 0;
    entry.after = position;
    // The door goes on behind the top: what lies between an older snapshot and it must be asked for.
    if (position.offset < top.offset) entry.gaps++;
    if (!this.#asking) this.#drain(entry);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      void this.#takeUp();
    });
  }

  #later({ retryAfterS }: FanfareError): void {
    const ms = retryAfterS * 1000 + 300 + backoff(2);
    void sleep(ms, this.#life.signal).then(() => this.#schedule());
  }

  /** Take up, through the door in use, what it does not follow yet. */
  async #takeUp(): Promise<void> {
    const door = this.#door;
    const missing = [...this.#entries.values()].filter((entry) => entry.taken !== door);
    if (!door || !missing.length) return;
    if (this.#taking) return void (this.#isMore = true);
    this.#taking = true;
    this.#isMore = false;
    try {
      await this.#while(async () => {
        const answers = await door.take(missing.map((entry) => this.#ask(entry)));
        if (this.#door === door) this.#merge(answers, door);
        // There may be more to read; if every one was refused for the moment, it waits.
        this.#isMore ||= [...answers.values()].some((answer) => !(answer instanceof Error));
      });
    } catch (thrown) {
      // A door that ended has a successor, which takes up everything.
      if (this.#door === door) this.#later(asError(thrown));
    }
    this.#taking = false;
    if (this.#isMore || this.#door !== door) this.#schedule();
  }
}
