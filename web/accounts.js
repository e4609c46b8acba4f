/* Who is signed in, in this browser and in this window.
 *
 * Sessions are kept by user in localStorage, for all windows; which of them a window uses
 * is in its own sessionStorage. So two windows can be two users, and a reload keeps both.
 * Emits `dropped` with a user's id. */

import { Emitter } from "./emitter.js";

const SESSION = "fanfare.session.";
const LAST = "fanfare.last_user";
const MINE = "fanfare.user";

export class Accounts extends Emitter {
  constructor() {
    super();
    window.addEventListener("storage", (change) => this.#hear(change));
  }

  /** The user's id that this window stands for, or null. A new window takes the last one used. */
  currentId() {
    const mine = sessionStorage.getItem(MINE);
    if (mine !== null) return mine || null;
    return localStorage.getItem(LAST);
  }

  find(userId = this.currentId()) {
    try {
      return JSON.parse(localStorage.getItem(SESSION + userId));
    } catch {
      return null;
    }
  }

  /** All that are signed in here, each `{user, …tokens}`. */
  all() {
    const ids = Object.keys(localStorage).filter((key) => key.startsWith(SESSION));
    return ids.map((key) => this.find(key.slice(SESSION.length))).filter(Boolean);
  }

  /** Keep the server's answer to a login, a registration or a refresh. */
  keep(grant) {
    const { user, access_token, refresh_token } = grant;
    const session = { user, access_token, refresh_token, obtained_at: Date.now() };
    localStorage.setItem(SESSION + user.id, JSON.stringify(session));
    return session;
  }

  use(userId) {
    this.stay(userId);
    localStorage.setItem(LAST, userId);
  }

  /** Keep this window to a user, whoever signs in in another one. */
  stay(userId) {
    sessionStorage.setItem(MINE, userId);
  }

  /** Let this window be nobody, and leave the others and their sessions as they are. */
  useNone() {
    sessionStorage.setItem(MINE, "");
  }

  drop(userId) {
    localStorage.removeItem(SESSION + userId);
    if (localStorage.getItem(LAST) === userId) localStorage.removeItem(LAST);
    if (sessionStorage.getItem(MINE) === userId) this.useNone();
    this.emit("dropped", userId);
  }

  #hear({ key, newValue }) {
    if (!key?.startsWith(SESSION)) return;
    if (newValue === null) this.emit("dropped", key.slice(SESSION.length));
  }
}
