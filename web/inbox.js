/* The user's notifications: the newest pages and the events since. Pure, as `channel.js` is.
 *
 * A page that is on its way may be older than an event that comes before it, so those are
 * applied once more behind it. The count of unread ones is the server's; between two counts
 * it follows the events. */

export class Inbox {
  unread = 0;
  nextCursor = null;
  #items = new Map();
  #gone = new Set();
  #pages = 0;
  #since = [];

  /** Newest first. */
  items() {
    return [...this.#items.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  /** A page has been asked for: what comes from now on may be newer than it. */
  expectPage() {
    this.#pages++;
  }

  /** The page that was asked for came, or will not come. */
  endPage() {
    if (--this.#pages === 0) this.#since = [];
  }

  /** Start over with a first page. */
  reset(page) {
    this.#items.clear();
    this.applyPage(page);
  }

  applyPage(page) {
    this.nextCursor = page.next_cursor;
    for (const item of page.items) this.#upsert(item);
    for (const event of this.#since) this.#applyOnce(event);
  }

  apply(event) {
    if (this.#pages > 0) this.#since.push(event);
    this.#applyOnce(event);
  }

  #applyOnce({ type, data }) {
    const known = this.#items.get(data.id);
    if (type === "notification.deleted") this.#remove(data.id, known);
    else if (!known || known.version < data.version) this.#change(data, known);
  }

  #change(item, known) {
    const wasUnread = known ? !known.read : false;
    this.#upsert(item);
    this.unread = Math.max(0, this.unread + Number(!item.read) - Number(wasUnread));
  }

  #remove(id, known) {
    // Remembered, because a page that was read before the deletion may arrive after it.
    this.#gone.add(id);
    this.#items.delete(id);
    if (known && !known.read) this.unread = Math.max(0, this.unread - 1);
  }

  #upsert(item) {
    const known = this.#items.get(item.id);
    if (this.#gone.has(item.id) || (known && known.version >= item.version)) return;
    this.#items.set(item.id, item);
  }
}
