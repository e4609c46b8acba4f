import { FanfareError } from "./errors.js";
import type { DoorName, FanfareEvent, Position, ResetWord, Roster, Signal } from "./types.js";
/** A stream that is to be followed. `after` null: from the top, after its last `history` events. */
export interface Want {
    stream: string;
    after: Position | null;
    history: number;
    presence: boolean;
}
/** What the server said to a Want. `more`: it isn't followed yet, ask again from `position`. */
export interface Ack {
    position: Position;
    events: FanfareEvent[];
    more: boolean;
    reset: ResetWord | null;
    presence?: Roster | null;
}
export type Answers = Map<Want, Ack | FanfareError>;
/** Why a door ended, and when to come back. */
export interface Verdict {
    code: string;
    detail: string;
    retry: "now" | "later" | "never";
    retry_after: number;
}
/** The server's greeting at the socket; SSE and long-poll say no more than their answers do. */
export interface Ready {
    user?: Record<string, any>;
    node?: string | undefined;
    position?: Position;
    limits?: Record<string, number>;
}
/** Where a door puts what it hears. `ended` is called once, and never for one that we closed. */
export interface Sink {
    ready(ready: Ready): void;
    event(event: FanfareEvent): void;
    signal(signal: Signal): void;
    reset(stream: string, word: ResetWord): void;
    unsubscribed(stream: string, code: string): void;
    bye(verdict: Verdict): void;
    ended(verdict: Verdict): void;
}
/** A door is used once: it opens, is live until it ends, and is gone. */
export interface Door {
    readonly name: DoorName;
    /** Resolves when the door is *ready*, with what became of all that is wanted. */
    open(): Promise<Answers>;
    /** Follow these too, or anew; the answers may tell of others as well. */
    take(wants: Want[]): Promise<Answers>;
    drop(stream: string): void;
    /** Ask by this door. Absent: ask by REST. */
    request?(name: string, data: unknown): Promise<any>;
    close(): void;
}
export declare function lost(detail: string): Verdict;
/** An error, as a reason why a door ended. */
export declare function verdictOf(error: FanfareError): Verdict;
/** A reason why a door ended, as an error of its opening. */
export declare function errorOf({ code, detail, retry, retry_after }: Verdict): FanfareError;
