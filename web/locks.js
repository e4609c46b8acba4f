/* One holder at a time among all tabs of this browser.
 *
 * Web Locks do it where they exist; a page on plain http:// beyond localhost has none, and
 * there a lease in IndexedDB does, taken in one transaction. A lease ends by itself, so a tab
 * that was closed while it held one keeps nobody waiting for long. */

import { makeKey, sleep } from "./timing.js";
import { update } from "./vault.js";

const LEASE_MS = 15_000;
const RETRY_MS = 90;

export async function withLock(name, work) {
  if (navigator.locks) return navigator.locks.request(name, work);
  const me = makeKey();
  while (!(await lease(name, me))) await sleep(RETRY_MS);
  try {
    return await work();
  } finally {
    await update(name, (held) => (held?.me === me ? undefined : held)).catch(() => {});
  }
}

async function lease(name, me) {
  const now = Date.now();
  const mine = { me, until: now + LEASE_MS };
  const take = (present) => (present?.until > now ? present : mine);
  const held = await update(name, take).catch(() => mine);
  return held.me === me;
}
