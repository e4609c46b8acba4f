/* What all tabs of a browser agree on: small values in IndexedDB, and one holder at a time.
 *
 * localStorage reaches other tabs a moment late, so two that follow one another closely could
 * both use the same refresh token. A transaction here is seen by all once it is complete. */

import { makeKey, sleep } from "./timing.js";

const DATABASE = "fanfare";
const STORE = "kept";
const LEASE_MS = 15_000;
const RETRY_MS = 90;

let opened: Promise<IDBDatabase> | null = null;

function open(): Promise<IDBDatabase> {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

export interface Vault {
  read<T>(): Promise<T | undefined>;
  update<T>(change: (value: T | undefined) => T | undefined): Promise<T | undefined>;
}

/** One value by its key. `update` replaces it (undefined removes it); nobody comes in between. */
export function vaultOf(key: string): Vault {
  return {
    async read<T>() {
      const request = (await open()).transaction(STORE).objectStore(STORE).get(key);
      return new Promise<T | undefined>((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    },
    async update<T>(change: (value: T | undefined) => T | undefined) {
      const transaction = (await open()).transaction(STORE, "readwrite");
      const store = transaction.objectStore(STORE);
      return new Promise<T | undefined>((resolve, reject) => {
        let next: T | undefined;
        const request = store.get(key);
        request.onsuccess = () => {
          next = change(request.result);
          if (next === undefined) store.delete(key);
          else store.put(next, key);
        };
        transaction.oncomplete = () => resolve(next);
        transaction.onabort = () => reject(transaction.error);
      });
    },
  };
}

/**
 * Run work while no other tab runs any under the same name. Web Locks do it where they exist; a
 * page on plain http:// beyond localhost has none, and there a lease in IndexedDB does, which ends
 * by itself: a tab that was closed while it held one keeps nobody waiting for long.
 */
export function lockOf(name: string): <T>(work: () => Promise<T>) => Promise<T> {
  const lease = vaultOf(name);
  return async (work) => {
    if (navigator.locks) return navigator.locks.request(name, work);
    const me = makeKey();
    while (!(await take(lease, me))) await sleep(RETRY_MS);
    try {
      return await work();
    } finally {
      await lease.update<Lease>((held) => (held?.me === me ? undefined : held));
    }
  };
}

interface Lease {
  me: string;
  until: number;
}

async function take(lease: Vault, me: string): Promise<boolean> {
  const now = Date.now();
  const mine = { me, until: now + LEASE_MS };
  const held = await lease.update<Lease>((present) =>
    present && present.until > now ? present : mine,
  );
  return held?.me === me;
}
