/* A usable access token, always, of one user.
 *
 * A refresh token rotates and its reuse ends the session, so of all tabs only one refreshes
 * at a time and the others take what it stored. Within this tab callers share one flight. */

import { FanfareError, fromResponse, offline } from "./errors.js";
import { withLock } from "./locks.js";
import { read, update } from "./vault.js";

const SPARE_MS = 20_000;
const TIMEOUT_MS = 12_000;

export class Tokens {
  #accounts;
  #userId;
  #flight = null;

  constructor(accounts, userId) {
    this.#accounts = accounts;
    this.#userId = userId;
  }

  /** Promise an access token that is good for a while and is not `refused`. */
  async get({ refused = null } = {}) {
    const session = this.#session();
    if (usable(session, refused)) return session.access_token;
    this.#flight ??= this.#refresh(refused ?? session.access_token).finally(() => {
      this.#flight = null;
    });
    return this.#flight;
  }

  #session() {
    const session = this.#accounts.find(this.#userId);
    if (!session) throw signedOut();
    return session;
  }

  #refresh(stale) {
    return withLock(`fanfare.refresh.${this.#userId}`, async () => {
      const session = newer(this.#session(), await this.#vaulted());
      if (session.access_token !== stale && usable(session)) return this.#adopt(session);
      const grant = await this.#fetchPair(session.refresh_token);
      const renewed = this.#accounts.keep({ user: session.user, ...grant });
      // Told to the other tabs before the lock is free: the next holder must not use the old one.
      await this.#vault(renewed);
      return renewed.access_token;
    });
  }

  // A browser that refuses IndexedDB still has localStorage, which is right for one tab.
  #vaulted() {
    return read(this.#vaultKey()).catch(() => null);
  }

  #vault(session) {
    return update(this.#vaultKey(), () => session).catch(() => {});
  }

  #vaultKey() {
    return `session.${this.#userId}`;
  }

  #adopt(session) {
    this.#accounts.adopt(session);
    return session.access_token;
  }

  async #fetchPair(refreshToken) {
    const response = await askPair(refreshToken);
    if (response.ok) return response.json();
    const error = await fromResponse(response);
    if (error.status !== 401) throw error;
    await this.#vault(undefined);
    this.#accounts.drop(this.#userId);
    throw signedOut();
  }
}

function askPair(refreshToken) {
  return fetch("/api/v1/auth/refresh", {
    method: "POST",
    headers: { Authorization: `Bearer ${refreshToken}` },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch(() => {
    throw offline();
  });
}

function newer(session, other) {
  return other && other.obtained_at > session.obtained_at ? other : session;
}

function usable(session, refused = null) {
  const spareMs = Math.min(SPARE_MS, (session.expires_at - session.obtained_at) / 4);
  return session.access_token !== refused && session.expires_at - Date.now() > spareMs;
}

function signedOut() {
  return new FanfareError("signed_out", "Your session has ended. Please log in again.");
}
