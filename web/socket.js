/* A Socket.IO client of our own that stays connected: WebSocket only, one namespace.
 *
 * It reconnects with full jitter and obeys the server's `bye` and refusals: now, later or
 * never. It knows nothing of streams; what was missed meanwhile is the business of
 * `streams.js`. Emits `state`, `join`, `leave`, `refused` and `packet` (name, data). */

import { Emitter } from "./emitter.js";
import { TOKEN_CODES, offline } from "./errors.js";
import { Link } from "./link.js";
import { backoffMs } from "./timing.js";

const ACK_TIMEOUT_MS = 10_000;
const STEADY_MS = 10_000;
const BYE_GRACE_MS = 2_000;

export class Socket extends Emitter {
  state = "stopped";
  retryAt = 0;

  #url;
  #auth;
  #link = null;
  #run = 0;
  #attempt = 0;
  #joinedAt = 0;
  #timer;
  #verdict = null;
  #options;

  /**
   * `auth({fresh})` promises the connect packet's object; `fresh` tells that the last token was
   * refused. When it rejects with an error that is not retryable, the socket stops.
   */
  constructor(url, auth, options = {}) {
    super();
    this.#url = url;
    this.#auth = auth;
    this.#options = options;
  }

  open() {
    if (this.state !== "stopped") return;
    this.#attempt = 0;
    this.#verdict = null;
    this.#connect();
  }

  stop(reason = "closed here") {
    this.#run++;
    clearTimeout(this.#timer);
    this.#verdict = { retry: "never" };
    this.#link?.close(reason);
    this.#link = null;
    this.#setState("stopped", { reason });
  }

  /** Skip the rest of the wait, as when the network or the user came back. */
  retryNow() {
    if (this.state === "waiting") this.#connect();
  }

  request(name, data, timeoutMs = ACK_TIMEOUT_MS) {
    if (this.state !== "joined") return Promise.reject(offline());
    return this.#link.request(name, data, timeoutMs);
  }

  async #connect() {
    // A run that was overtaken, by stop() or by a later try, does nothing more.
    const run = ++this.#run;
    clearTimeout(this.#timer);
    this.#setState("connecting");
    const fresh = TOKEN_CODES.has(this.#verdict?.code);
    this.#verdict = null;
    try {
      const auth = await this.#auth({ fresh });
      if (run === this.#run) this.#openLink(run, auth);
    } catch (error) {
      if (run === this.#run) this.#giveUpOrWait(error);
    }
  }

  #openLink(run, auth) {
    const mine = (handle) => (...values) => run === this.#run && handle(...values);
    const on = {
      onJoin: mine(() => this.#join()),
      onRefused: mine((error) => this.#hearRefusal(error)),
      onEvent: mine((name, data) => this.#hear(name, data)),
      onClose: mine((reason) => this.#leave(reason)),
    };
    this.#link = new Link(this.#url, auth, on, this.#options);
  }

  #giveUpOrWait(error) {
    if (!error.retryable) this.#verdict = { retry: "never", code: error.code };
    this.#leave(error.message);
  }

  #join() {
    this.#joinedAt = Date.now();
    this.#setState("joined");
    this.emit("join");
  }

  #hearRefusal(error) {
    this.#verdict = { retry: TOKEN_CODES.has(error.code) ? "now" : "later", ...error };
    this.emit("refused", this.#verdict);
  }

  #hear(name, data) {
    if (name === "bye") this.#hearBye(data);
    else this.emit("packet", name, data);
  }

  #hearBye(bye) {
    const run = this.#run;
    this.#verdict = bye;
    this.emit("bye", bye);
    // The server closes after its `bye`; one that hangs is not waited for.
    setTimeout(() => run === this.#run && this.#link?.close("bye"), BYE_GRACE_MS);
  }

  #leave(reason) {
    this.#link = null;
    // A server that lets us in and cuts us off at once must not be hammered, so only a
    // connection that held for a while starts the back-off afresh.
    const steady = this.#joinedAt && Date.now() - this.#joinedAt > STEADY_MS;
    if (steady) this.#attempt = 0;
    this.#joinedAt = 0;
    this.emit("leave", reason);
    if (this.#verdict?.retry === "never") this.#setState("stopped", { reason, ...this.#verdict });
    else this.#wait(reason);
  }

  #wait(reason) {
    const askedMs = this.#verdict?.retry === "later" ? (this.#verdict.retry_after ?? 0) * 1000 : 0;
    const delayMs = askedMs + backoffMs(this.#attempt++);
    this.retryAt = Date.now() + delayMs;
    this.#setState("waiting", { reason });
    this.#timer = setTimeout(() => this.#connect(), delayMs);
  }

  #setState(state, facts = {}) {
    this.state = state;
    this.emit("state", { state, ...facts });
  }
}
