/* The open channel: its head, its messages, the message box, the read marker. */

import { titleOf } from "../channel.js";
import { Composer } from "./composer.js";
import { byId, perFrame } from "./dom.js";
import { confirm } from "./forms.js";
import { MessageList } from "./messages.js";
import { attempt, toast } from "./toast.js";

const READ_DELAY_MS = 250;
const TOUCH = window.matchMedia("(pointer: coarse)");

export class Conversation {
  #client;
  #store;
  #list;
  #composer;
  #readTimer;

  constructor(client, store) {
    this.#client = client;
    this.#store = store;
    this.#composer = new Composer({
      send: (body, replyTo) => this.#send(body, replyTo),
      type: () => client.channel(store.openId).typing(),
      maxBytes: () => client.maxBytes,
      editLast: () => this.#list.editLast(),
    });
    this.#list = new MessageList(store, this.#actions());
    this.#wire();
    this.#show();
  }

  focus() {
    // On a touch screen the focus would raise the keyboard over what one came to read.
    if (TOUCH.matches) return;
    if (this.#store.open?.canPost) this.#composer.focus();
    else byId("channel-title").focus();
  }

  /** The page was shown again, or hidden: what comes while it is hidden is new. */
  visibilityChanged() {
    this.#store.watched = !document.hidden;
    if (document.hidden) return;
    this.#list.markNew(this.#store.open);
    this.#list.redraw();
    this.#readSoon();
  }

  #wire() {
    const drawHead = perFrame(() => this.#drawHead());
    this.#store.on("open", () => this.#show());
    this.#store.typists.on("change", (id) => id === this.#store.openId && this.#drawTyping());
    this.#store.on("arrival", (channel, message) => this.#announce(channel, message));
    this.#store.on("channel", (id) => {
      if (id !== this.#store.openId) return;
      drawHead();
      this.#readSoon();
    });
    this.#client.on("live", () => this.#readSoon());
    byId("join").onclick = () => attempt(() => this.#join());
  }

  #actions() {
    return {
      edit: (message, body) => attempt(() => this.#edit(message, body)),
      remove: (message) => attempt(() => this.#remove(message)),
      reply: (message) => this.#composer.reply(message),
      retry: (entry) => this.#client.outbox.retry(entry.key),
      drop: (entry) => this.#client.outbox.remove(entry.key),
      leave: () => this.focus(),
      fail: (error) => toast(error.message, "bad"),
    };
  }

  #show() {
    const channel = this.#store.open;
    byId("conversation").hidden = !channel;
    byId("welcome").hidden = Boolean(channel);
    this.#drawHead();
    this.#drawTyping();
    this.#composer.show(channel, this.#title());
    if (!channel) return;
    this.#list.show();
    this.#readSoon();
  }

  #title() {
    const channel = this.#store.open;
    return channel ? titleOf(channel, this.#store.user.username) : "";
  }

  #drawHead() {
    const channel = this.#store.open;
    byId("channel-title").textContent = this.#title() || "Fanfare";
    byId("channel-title").dataset.kind = channel?.info.kind ?? "";
    byId("channel-topic").textContent = channel?.info.topic ?? "";
    byId("channel-settings").hidden = !channel?.membership;
    byId("composer").hidden = !channel?.canPost;
    byId("join-bar").hidden = !channel || channel.canPost;
    byId("join").hidden = Boolean(channel?.membership);
    byId("join-text").textContent = channel?.membership
      ? "You are a guest here: you can read."
      : "You are reading as a visitor.";
  }

  #drawTyping() {
    const names = this.#store.typists.names(this.#store.openId);
    const who = names.length > 2 ? "Several people" : names.join(" and ");
    const verb = names.length > 1 ? "are" : "is";
    byId("typing").textContent = names.length ? `${who} ${verb} typing` : "";
  }

  #announce(channel, message) {
    if (channel.id !== this.#store.openId) return;
    byId("announcer").textContent = `${message.author_username}: ${message.body.slice(0, 300)}`;
  }

  #send(body, replyTo) {
    const { id } = this.#store.open;
    this.#client.send(id, body, replyTo);
    this.#list.redraw();
    this.#list.toBottom();
  }

  async #edit({ id, channel_id }, body) {
    this.#take(channel_id, await this.#client.channel(channel_id).messages.update(id, body));
  }

  async #remove({ id, channel_id, body }) {
    const detail = `“${body.slice(0, 120)}” will be gone for everyone.`;
    if (!(await confirm("Delete this message?", detail, "Delete"))) return;
    this.#take(channel_id, await this.#client.channel(channel_id).messages.delete(id));
  }

  #take(channelId, message) {
    if (message) this.#store.channels.get(channelId)?.upsert(message);
    this.#list.redraw();
  }

  async #join() {
    const { id } = this.#store.open;
    await this.#client.rest.put(`/channels/${id}/members/me`);
    await this.#store.sync(id);
    this.focus();
  }

  #readSoon() {
    clearTimeout(this.#readTimer);
    this.#readTimer = setTimeout(() => this.#read(), READ_DELAY_MS);
  }

  #read() {
    const channel = this.#store.open;
    // Not read while nobody can see it; a failure is tried again when the connection is back.
    if (channel && !document.hidden) this.#store.markRead(channel).catch(() => {});
  }
}
