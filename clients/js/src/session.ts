/* A login that renews itself: access tokens made of a refresh token that rotates.
 *
 * A refresh token that is used twice ends its session, so of all tabs only one refreshes at a
 * time, and the others take what it stored. */

import { FanfareError } from "./errors.js";
import { callOpenly, type Fetch } from "./http.js";
import { lockOf, vaultOf } from "./vault.js";
import type { TokenFunction } from "./tokens.js";
import type { Grant } from "./types.js";

/** Where a login is kept. `lock` lets nobody in between, of all that share the store. */
export interface SessionStore {
  read(): Promise<Grant | null | undefined>;
  write(grant: Grant | null): Promise<unknown>;
  lock<T>(work: () => Promise<T>): Promise<T>;
}

export interface SessionOptions {
  url?: string;
  /** What a login gave; it need not be given where the store has one. */
  grant?: Grant;
  /** By default IndexedDB in browsers, shared by all tabs, under `name`; memory in Node.js. */
  store?: SessionStore;
  name?: string;
  fetch?: Fetch;
}

interface EnterOptions {
  /** At a registration: the name that others see. */
  display_name?: string;
  fetch?: Fetch;
}

const enter = (how: string) =>
  (url: string, username: string, password: string, { fetch = globalThis.fetch, ...more }: EnterOptions = {}) =>
    callOpenly<Grant>(fetch, `${url}/api/v1/auth/${how}`, { username, password, ...more });

export const logIn = enter("login");
export const register = enter("register");

/** A `token` function for connect(), which refreshes when it has to. */
export function session({
  url = "",
  grant,
  name = "session",
  store = defaultStore(name),
  fetch = globalThis.fetch,
}: SessionOptions): TokenFunction {
  let given = grant;
  const current = async () => {
    // What was given is newer than what is stored only once: from then on the store is right.
    if (given) await store.write(given);
    given = undefined;
    const kept = await store.read();
    if (!kept) throw new FanfareError("unauthorized", "Nobody is logged in.");
    return kept;
  };
  const renew = async (refused: string) => {
    const kept = await current();
    if (kept.access_token !== refused) return kept.access_token;
    const renewed = await refresh(url, kept, store, fetch);
    return renewed.access_token;
  };
  return async ({ refused }) => {
    const kept = await current();
    if (kept.access_token !== refused) return kept.access_token;
    return store.lock(() => renew(refused));
  };
}

async function refresh(url: string, kept: Grant, store: SessionStore, fetch: Fetch): Promise<Grant> {
  try {
    const path = `${url}/api/v1/auth/refresh`;
    const grant = { ...kept, ...(await callOpenly<Grant>(fetch, path, null, kept.refresh_token)) };
    // Told to the other tabs before the lock is free: the next holder must not use the old one.
    await store.write(grant);
    return grant;
  } catch (error) {
    if ((error as FanfareError).status === 401) await store.write(null);
    throw error;
  }
}

function defaultStore(name: string): SessionStore {
  return globalThis.indexedDB ? browserStore(name) : memoryStore();
}

/** Kept in this process alone. */
export function memoryStore(): SessionStore {
  let kept: Grant | null = null;
  let turn: Promise<unknown> = Promise.resolve();
  return {
    read: async () => kept,
    write: async (grant) => void (kept = grant),
    lock: (work) => {
      const result = turn.then(work);
      turn = result.catch(() => {});
      return result;
    },
  };
}

/** Kept in IndexedDB, under a name, for all tabs of this browser. */
export function browserStore(name: string): SessionStore {
  const vault = vaultOf(`session.${name}`);
  return {
    read: () => vault.read<Grant>(),
    write: (grant) => vault.update(() => grant ?? undefined),
    lock: lockOf(`fanfare.refresh.${name}`),
  };
}
