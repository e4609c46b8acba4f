/* The messages of the open channel, as a list that is walked with the arrow keys.
 *
 * Rows are kept by key, and a message of mine keeps its row from "sending" to the log, so
 * nothing jumps. The list stays at the bottom if it was there; else it stays where it is. */

import { byId, h, perFrame, reconcile } from "./dom.js";
import { dayKey, dayName, plural } from "./format.js";
import { drawDay, drawMessage, drawNew, drawPending } from "./rows.js";

const NEAR_PX = 120;
const GROUP_MS = 5 * 60_000;

export class MessageList {
  #store;
  #actions;
  #list = byId("messages");
  #scroller = byId("scroller");
  #draw = perFrame(() => this.redraw());
  #newAfter = 0;
  #editing = null;
  #loading = false;
  #missed = 0;

  /** `actions` has `edit(message, body)`, `remove(message)`, `reply(message)`, `leave()`. */
  constructor(store, actions) {
    this.#store = store;
    this.#actions = actions;
    this.#list.replaceChildren();
    store.on("channel", (id) => id === store.openId && this.#draw());
    store.on("arrival", (channel) => this.#countMissed(channel));
    this.#scroller.onscroll = () => this.#scrolled();
    this.#list.onkeydown = (event) => this.#key(event);
    byId("older").onclick = () => this.#loadOlder();
    byId("jump").onclick = () => this.toBottom();
  }

  /** Start over for the channel that is open now. */
  show() {
    const channel = this.#store.open;
    this.#list.replaceChildren();
    this.#editing = null;
    this.markNew(channel);
    this.redraw();
    this.toBottom();
  }

  /** Draw the line "new" after what has been read so far. */
  markNew(channel) {
    this.#newAfter = channel?.unread ? channel.readOffset : 0;
  }

  redraw() {
    const channel = this.#store.open;
    if (!channel) return;
    const pinned = this.atBottom();
    if (pinned) channel.trim();
    reconcile(this.#list, this.#rows(channel), {
      key: (row) => row.key,
      make: () => h("li", {}),
      update: (node, row) => row.draw(node),
    });
    this.#drawEdge(channel);
    this.#keepOneTabStop();
    if (pinned) this.toBottom();
    this.#drawJump();
  }

  atBottom() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_PX;
  }

  toBottom() {
    this.#missed = 0;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#drawJump();
  }

  /** Edit my newest message, as ArrowUp in an empty message box does. */
  editLast() {
    const mine = this.#store.open?.messages().filter((message) => this.#isMine(message));
    const last = mine?.findLast((message) => !message.deleted_at);
    if (last) this.#edit(last);
  }

  #rows(channel) {
    const rows = [];
    let last = null;
    for (const message of channel.messages()) {
      if (!last || dayKey(last.created_at) !== dayKey(message.created_at)) {
        rows.push(dayRow(message.created_at));
        last = null;
      }
      if (this.#startsNew(message, rows)) {
        rows.push({ key: "new", draw: drawNew });
        last = null;
      }
      rows.push(this.#messageRow(channel, message, follows(last, message)));
      last = message;
    }
    for (const entry of this.#store.pending(channel)) rows.push(this.#pendingRow(entry));
    return rows;
  }

  #startsNew(message, rows) {
    const isNew = this.#newAfter && message.offset > this.#newAfter && !this.#isMine(message);
    return isNew && !rows.some(({ key }) => key === "new");
  }

  #messageRow(channel, message, grouped) {
    const mine = this.#isMine(message);
    const facts = {
      grouped,
      parent: message.reply_to ? channel.find(message.reply_to) : null,
      canEdit: mine && channel.canPost,
      canDelete: (mine && channel.canPost) || channel.canModerate,
      canReply: channel.canPost,
      editing: this.#editing === message.id && !message.deleted_at,
    };
    const on = {
      edit: () => this.#edit(message),
      save: (body) => this.#save(message, body),
      cancel: () => this.#stopEditing(message.id),
      remove: () => this.#actions.remove(message),
      reply: () => this.#actions.reply(message),
    };
    const key = mine && message.key ? `key:${message.key}` : message.id;
    return { key, draw: (node) => drawMessage(node, message, facts, on) };
  }

  #pendingRow(entry) {
    const on = { retry: () => this.#actions.retry(entry), drop: () => this.#actions.drop(entry) };
    const draw = (node) => drawPending(node, entry, this.#store.user, on);
    return { key: `key:${entry.key}`, draw };
  }

  #isMine(message) {
    return message.author_id === this.#store.user.id;
  }

  #edit(message) {
    this.#editing = message.id;
    this.redraw();
    const input = this.#find(message.id)?.querySelector("textarea");
    input?.focus();
    input?.setSelectionRange(input.value.length, input.value.length);
    input?.scrollIntoView({ block: "nearest" });
  }

  async #save(message, body) {
    if (body.trim() && body !== message.body) await this.#actions.edit(message, body);
    this.#stopEditing(message.id);
  }

  #stopEditing(messageId) {
    if (this.#editing !== messageId) return;
    this.#editing = null;
    this.redraw();
    this.#actions.leave();
  }

  #find(messageId) {
    return this.#list.querySelector(`[data-message-id="${CSS.escape(messageId)}"]`);
  }

  #scrolled() {
    if (this.#scroller.scrollTop < NEAR_PX) this.#loadOlder();
    if (this.atBottom()) this.#missed = 0;
    this.#drawJump();
  }

  async #loadOlder() {
    const channel = this.#store.open;
    if (!channel || this.#loading || channel.complete || !channel.messages().length) return;
    this.#loading = true;
    byId("older").disabled = true;
    const anchor = this.#anchor();
    try {
      await this.#store.loadOlder(channel);
      if (channel === this.#store.open) this.#restore(anchor);
    } catch (error) {
      this.#actions.fail(error);
    } finally {
      this.#loading = false;
      byId("older").disabled = false;
    }
  }

  #anchor() {
    const node = [...this.#list.children].find((child) => child.dataset.messageId);
    return { node, top: node?.getBoundingClientRect().top };
  }

  #restore({ node, top }) {
    this.redraw();
    if (node) this.#scroller.scrollTop += node.getBoundingClientRect().top - top;
  }

  #countMissed(channel) {
    if (channel.id === this.#store.openId && !this.atBottom()) this.#missed++;
    this.#draw();
  }

  #drawJump() {
    const hidden = this.atBottom();
    byId("jump").hidden = hidden;
    const text = this.#missed ? plural(this.#missed, "new message") : "Latest";
    byId("jump-text").textContent = text;
  }

  #drawEdge(channel) {
    byId("older").hidden = channel.complete;
    const start = byId("beginning");
    start.hidden = !channel.complete;
    start.textContent = channel.messages().length
      ? "This is where it begins."
      : "Nothing has been said here yet.";
  }

  #keepOneTabStop() {
    const rows = this.#walkable();
    const held = rows.find((row) => row.contains(document.activeElement));
    const stop = held ?? rows.at(-1);
    for (const row of rows) row.tabIndex = row === stop ? 0 : -1;
  }

  #walkable() {
    return [...this.#list.querySelectorAll(".message")];
  }

  #key(event) {
    const row = event.target.closest(".message");
    if (event.target !== row) {
      if (event.key === "Escape" && !event.target.matches("textarea")) row?.focus();
      return;
    }
    const handle = this.#walks(row)[event.key] ?? this.#commands(row)[event.key];
    if (!handle || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    handle();
  }

  #walks(row) {
    const rows = this.#walkable();
    const at = rows.indexOf(row);
    const go = (index) => rows[Math.max(0, Math.min(rows.length - 1, index))]?.focus();
    return {
      ArrowUp: () => (at === 0 ? this.#loadOlder() : go(at - 1)),
      ArrowDown: () => go(at + 1),
      Home: () => go(0),
      End: () => go(rows.length - 1),
      Escape: () => this.#actions.leave(),
    };
  }

  #commands(row) {
    const press = (name) => () => row.querySelector(`[data-action="${name}"]`)?.click();
    return { e: press("edit"), Delete: press("delete"), r: press("reply"), Enter: press("edit") };
  }
}

function dayRow(at) {
  return { key: `day:${dayKey(at)}`, draw: (node) => drawDay(node, dayName(at)) };
}

function follows(last, message) {
  if (!last || last.author_id !== message.author_id || message.reply_to) return false;
  return new Date(message.created_at) - new Date(last.created_at) < GROUP_MS;
}
