/* Reads the inbox and keeps its count right.
 *
 * A count has no position, so it can't be told whether it holds an event that arrives at the
 * same time. Hence it is asked for anew, once, after events have come. */

import { sleep } from "./timing.js";

const PAGE = 50;
const QUIET_MS = 200;

export class InboxLoader {
  #rest;
  #inbox;
  #changed;
  #asked = 0;

  /** `changed()` is called whenever there is something new to draw. */
  constructor(rest, inbox, changed) {
    this.#rest = rest;
    this.#inbox = inbox;
    this.#changed = changed;
  }

  async load() {
    await this.#read({}, (page) => this.#inbox.reset(page));
    await this.#count();
  }

  more() {
    return this.#read({ cursor: this.#inbox.nextCursor }, (page) => this.#inbox.applyPage(page));
  }

  /** Take an event of a notification. */
  async apply(event) {
    this.#inbox.apply(event);
    this.#changed();
    const asked = ++this.#asked;
    await sleep(QUIET_MS);
    if (asked === this.#asked) await this.#count().catch(() => {});
  }

  async #read(query, take) {
    this.#inbox.expectPage();
    try {
      take(await this.#rest.get("/notifications", { limit: PAGE, ...query }));
    } finally {
      this.#inbox.endPage();
    }
    this.#changed();
  }

  async #count() {
    const asked = this.#asked;
    const { count } = await this.#rest.get("/notifications/unread");
    // An event that came meanwhile asks again by itself.
    if (asked !== this.#asked) return;
    this.#inbox.unread = count;
    this.#changed();
  }
}
