/* The user's notifications: the newest pages and the events since. Pure, as `channel.js` is. */

export class Inbox {
  unread = 0;
  nextCursor = null;
  #items = new Map();
  #gone = new Set();

  /** Newest first. */
  items() {
    return [...this.#items.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  /** Start over with a first page and the count of all that are unread. */
  reset(page, unread) {
    this.#items.clear();
    this.unread = unread;
    this.applyPage(page);
  }

  applyPage(page) {
    this.nextCursor = page.next_cursor;
    for (const item of page.items) this.#upsert(item);
  }

  /** Apply an event; false when the count can't be told from it and has to be asked for. */
  apply({ type, data }) {
    const known = this.#items.get(data.id);
    if (type === "notification.deleted") return this.#remove(data.id, known);
    if (known && known.version >= data.version) return true;
    this.#upsert(data);
    const before = known ? !known.read : false;
    this.unread = Math.max(0, this.unread + Number(!data.read) - Number(before));
    return Boolean(known) || type === "notification.created";
  }

  #remove(id, known) {
    // Remembered, because a page that was read before the deletion may arrive after it.
    this.#gone.add(id);
    this.#items.delete(id);
    if (known && !known.read) this.unread = Math.max(0, this.unread - 1);
    return Boolean(known);
  }

  #upsert(item) {
    const known = this.#items.get(item.id);
    if (this.#gone.has(item.id) || (known && known.version >= item.version)) return;
    this.#items.set(item.id, item);
  }
}
