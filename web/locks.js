/* One holder at a time among all tabs of this browser.
 *
 * Web Locks do it where they exist; a page on plain http:// beyond localhost has none, and
 * there a lease in localStorage does: written, left to settle, and read back, so that of
 * two tabs that wrote at once only the last one holds it. A lease ends by itself. */

import { makeKey, sleep } from "./timing.js";

const LEASE_MS = 15_000;
const SETTLE_MS = 60;
const RETRY_MS = 90;

export async function withLock(name, work) {
  if (navigator.locks) return navigator.locks.request(name, work);
  const me = makeKey();
  while (!(await lease(name, me))) await sleep(RETRY_MS);
  try {
    return await work();
  } finally {
    if (holder(name)?.me === me) localStorage.removeItem(name);
  }
}

async function lease(name, me) {
  const held = holder(name);
  if (held && held.me !== me && held.until > Date.now()) return false;
  localStorage.setItem(name, JSON.stringify({ me, until: Date.now() + LEASE_MS }));
  await sleep(SETTLE_MS);
  return holder(name)?.me === me;
}

function holder(name) {
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return null;
  }
}
