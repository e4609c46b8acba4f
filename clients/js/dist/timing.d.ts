/** How long the client waits for what, in ms. An application seldom has to change one. */
export interface Timing {
    /** From opening a socket to its `ready`, before the next door is tried. */
    socketMs: number;
    /** From asking for a stream of events to the first of it. */
    sseMs: number;
    /** For the first answer to a poll, and for any other call. */
    callMs: number;
    /** For an ack, before the socket is left. */
    ackMs: number;
    /** On a lower door, before a higher one is tried; doubles up to `probeCapMs`. */
    probeMs: number;
    probeCapMs: number;
    /** The first and the longest wait between tries, before chance shortens it. */
    backoffMs: number;
    backoffCapMs: number;
}
export declare const TIMING: Timing;
/**
 * A wait before try number `attempt` (0, 1, 2, …), in ms. The jitter is full, so that clients
 * that were cut off together do not come back together.
 */
export declare function backoff(attempt: number, baseMs?: number, capMs?: number): number;
/** Wait; the end of `signal` ends it at once. */
export declare function sleep(ms: number, signal?: AbortSignal): Promise<void>;
/**
 * A new UUID. Plain http:// beyond localhost and Node.js 18 have no `crypto.randomUUID`; chance will
 * do there, for a key has to be unlike others of its user and stream, and is no secret.
 */
export declare function makeKey(): string;
