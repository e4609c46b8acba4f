/* Waiting, and names that nobody else has: the few things here that a clock or chance decides. */

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

export const TIMING: Timing = {
  socketMs: 2_500,
  sseMs: 2_000,
  callMs: 15_000,
  ackMs: 4_000,
  probeMs: 10_000,
  probeCapMs: 300_000,
  backoffMs: 500,
  backoffCapMs: 30_000,
};

/**
 * A wait before try number `attempt` (0, 1, 2, …), in ms. The jitter is full, so that clients
 * that were cut off together do not come back together.
 */
export function backoff(attempt: number, baseMs = 500, capMs = 10_000): number {
  return Math.random() * Math.min(capMs, baseMs * 2 ** Math.min(attempt, 16));
}

/** Wait; the end of `signal` ends it at once. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
  });
}

/**
 * A new UUID. Plain http:// beyond localhost and Node.js 18 have no `crypto.randomUUID`; chance will
 * do there, for a key has to be unlike others of its user and stream, and is no secret.
 */
export function makeKey(): string {
  const digit = () => Math.floor(Math.random() * 16).toString(16);
  return globalThis.crypto?.randomUUID?.() ?? "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx".replace(/x/g, digit);
}
