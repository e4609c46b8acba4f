/* Waiting, and unguessable names: the few things here that a clock or chance decides. */

/**
 * A wait before try number `attempt` (0, 1, 2, …), in ms. The jitter is full, so that clients
 * that were cut off together do not come back together.
 */
export function backoffMs(attempt, { baseMs = 400, capMs = 10_000, random = Math.random } = {}) {
  return random() * Math.min(capMs, baseMs * 2 ** Math.min(attempt, 16));
}

export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A new UUID. `crypto.randomUUID` is missing on plain http:// beyond localhost, this is not. */
export function makeKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
