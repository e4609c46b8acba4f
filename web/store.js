/* The state that the page draws: my channels, the open one, the inbox, who is typing.
 *
 * It joins snapshots (REST) with events (socket) and tells the views what changed:
 * `channels`, `channel` (id), `open`, `inbox`, `typing` (id), `arrival` (channel, message)
 * and `notice` (text). It knows no document. */

import { Channel } from "./channel.js";
import { Emitter } from "./emitter.js";
import { Inbox } from "./inbox.js";

const SYNC_MESSAGES = 50;
const PAGE = 50;
const TYPING_MS = 5_000;
const SPARE_SUBSCRIPTIONS = 20;
const MAX_SUBSCRIPTIONS = 128;

export class Store extends Emitter {
  channels = new Map();
  inbox = new Inbox();
  openId = null;
  watched = true;

  #client;
  #typing = new Map();

  constructor(client) {
    super();
    this.#client = client;
    client.on("event", (event) => this.#apply(event));
    client.on("signal", (signal) => this.#applySignal(signal));
    client.on("snapshot", (id, sync) => this.#applySync(id, sync));
    client.on("user_reset", () => this.load());
    client.on("lost", (loss) => this.#applyLoss(loss));
    client.outbox.on("change", (id) => this.emit("channel", id));
    client.outbox.on("sent", (id, message) => this.#take(id, message));
  }

  get user() {
    return this.#client.user;
  }

  get open() {
    return this.channels.get(this.openId) ?? null;
  }

  get unread() {
    return this.mine().reduce((sum, channel) => sum + this.unreadOf(channel), 0);
  }

  /** What to show as unread: what is being looked at is read, a moment before the server knows. */
  unreadOf(channel) {
    return channel.id === this.openId && this.watched ? 0 : channel.unread;
  }

  /** The channels that I am a member of, by name. */
  mine() {
    const mine = [...this.channels.values()].filter((channel) => channel.membership);
    return mine.sort((a, b) => a.info.name.localeCompare(b.info.name));
  }

  pending(channelId) {
    return this.#client.outbox.of(channelId);
  }

  typists(channelId) {
    return [...(this.#typing.get(channelId)?.values() ?? [])].map(({ name }) => name);
  }

  /** Read the lists; safe to repeat, as each item carries the position that it is true at. */
  async load() {
    await Promise.all([this.#loadChannels(), this.loadInbox()]);
  }

  async loadInbox() {
    const { rest } = this.#client;
    const [page, { count }] = await Promise.all([
      rest.get("/notifications", { limit: PAGE }),
      rest.get("/notifications/unread"),
    ]);
    this.inbox.reset(page, count);
    this.emit("inbox");
  }

  async loadMoreInbox() {
    const query = { limit: PAGE, cursor: this.inbox.nextCursor };
    this.inbox.applyPage(await this.#client.rest.get("/notifications", query));
    this.emit("inbox");
  }

  /** Open a channel by id or slug; one that I am not in is shown and followed while open. */
  async openChannel(ref) {
    const known = [...this.channels.values()].find(({ info }) => [info.id, info.slug].includes(ref));
    const channel = known?.synced ? known : await this.sync(known?.id ?? ref);
    if (this.openId !== channel.id) this.#leaveOpen();
    this.openId = channel.id;
    this.emit("open");
    return channel;
  }

  closeChannel() {
    this.#leaveOpen();
    this.openId = null;
    this.emit("open");
  }

  /** Take a channel's snapshot and follow it from there. */
  async sync(ref) {
    const channel = this.channels.get(ref);
    channel?.expectSync();
    try {
      const { channel: info, position } = await this.#client.sync(ref, SYNC_MESSAGES);
      this.#follow(info.id, position, true);
      return this.channels.get(info.id);
    } finally {
      channel?.endSync();
    }
  }

  async loadOlder(channel) {
    const query = { before: channel.oldest, limit: PAGE };
    const { items } = await this.#client.rest.get(`/channels/${channel.id}/messages`, query);
    channel.applyPage(items, items.length < PAGE);
    this.emit("channel", channel.id);
  }

  /** Move my read marker to the newest message that is loaded. */
  async markRead(channel) {
    const last = channel.messages().at(-1);
    if (!channel.membership || !last || last.offset <= channel.readOffset) return;
    const { unread } = await this.#client.read(channel.id, last.offset);
    channel.markRead(last.offset, unread);
    this.#channelChanged(channel.id);
  }

  async #loadChannels() {
    const items = await this.#client.rest.all("/channels", { member: "me" });
    for (const item of items) this.#applyItem(item);
    const listed = new Set(items.map(({ id }) => id));
    for (const channel of [...this.channels.values()]) {
      if (channel.membership && !listed.has(channel.id)) this.#forget(channel.id);
    }
    this.emit("channels");
  }

  #applyItem(item) {
    // A channel that is followed already is ahead of what a list can tell.
    if (this.#client.streams.has(`channel:${item.id}`)) return;
    this.#ensure(item).applyItem(item);
    this.#follow(item.id, item.position, false);
  }

  #ensure(info) {
    if (!this.channels.has(info.id)) this.channels.set(info.id, new Channel(info, this.user.id));
    return this.channels.get(info.id);
  }

  #follow(id, position, needed) {
    const { streams } = this.#client;
    if (!needed && streams.size >= MAX_SUBSCRIPTIONS - SPARE_SUBSCRIPTIONS) return;
    if (streams.size >= MAX_SUBSCRIPTIONS - 1) this.#unfollowOne(id);
    streams.follow(`channel:${id}`, position);
  }

  #unfollowOne(exceptId) {
    const { streams } = this.#client;
    const spare = [...this.channels.values()].find(
      ({ id }) => id !== exceptId && id !== this.openId && streams.has(`channel:${id}`),
    );
    if (!spare) return;
    spare.synced = false;
    streams.unfollow(`channel:${spare.id}`);
  }

  #leaveOpen() {
    const channel = this.open;
    if (channel && !channel.membership) this.#forget(channel.id);
  }

  #forget(id) {
    this.channels.delete(id);
    this.#client.streams.unfollow(`channel:${id}`);
  }

  #applySync(id, sync) {
    this.#ensure(sync.channel).applySync(sync, SYNC_MESSAGES);
    this.#channelChanged(id);
  }

  #channelChanged(id) {
    this.emit("channel", id);
    this.emit("channels");
  }

  #take(id, message) {
    this.channels.get(id)?.upsert(message);
    this.emit("channel", id);
  }

  #apply(event) {
    if (event.stream === this.#client.userStream) this.#applyMine(event);
    else this.#applyChannel(event);
  }

  #applyChannel(event) {
    const channel = this.channels.get(event.stream.slice("channel:".length));
    if (!channel) return;
    if (event.type === "channel.deleted") return this.#remove(channel, "was deleted");
    channel.apply(event);
    this.#channelChanged(channel.id);
    if (event.type !== "message.created") return;
    this.#stopTyping(channel.id, event.actor);
    if (event.actor !== this.user.id) this.emit("arrival", channel, event.data);
  }

  #applyMine(event) {
    const { type, data } = event;
    if (type.startsWith("notification.")) this.#applyNotification(event);
    else if (type === "read.moved") this.#applyRead(data);
    else if (type === "member.left") this.#applyLeft(data.channel_id);
    else if (type.startsWith("member.")) this.#applyMembership(data);
  }

  #applyNotification(event) {
    const told = this.inbox.apply(event);
    this.emit("inbox");
    if (!told) this.loadInbox().catch(() => {});
  }

  #applyRead({ channel_id, offset, unread }) {
    this.channels.get(channel_id)?.markRead(offset, unread);
    this.#channelChanged(channel_id);
  }

  #applyMembership(member) {
    const channel = this.channels.get(member.channel_id);
    if (channel?.membership?.role === member.role) return;
    this.sync(member.channel_id).catch(() => {});
  }

  #applyLeft(id) {
    const channel = this.channels.get(id);
    if (!channel?.membership) return;
    if (channel.info.kind !== "public") this.#remove(channel, "is no longer open to you");
    else if (id === this.openId) this.#becomeVisitor(channel);
    else this.#remove(channel);
  }

  #becomeVisitor(channel) {
    channel.membership = null;
    channel.unread = 0;
    this.#channelChanged(channel.id);
  }

  #applyLoss({ stream }) {
    const channel = this.channels.get(stream.slice("channel:".length));
    if (!channel) return;
    if (channel.info.kind !== "public") return this.#remove(channel, "is no longer open to you");
    // A visitor may still read it: the snapshot tells, and follows it anew.
    this.sync(channel.id).catch(() => this.#remove(channel, "is no longer open to you"));
  }

  #remove(channel, why) {
    const { name } = channel.info;
    this.#forget(channel.id);
    if (channel.id === this.openId) this.closeChannel();
    if (why) this.emit("notice", `${name} ${why}.`);
    this.emit("channels");
  }

  #applySignal({ stream, type, actor, data }) {
    if (type !== "typing" || actor === this.user.id) return;
    const id = stream.slice("channel:".length);
    const name = this.channels.get(id)?.members.get(actor)?.username ?? data?.username ?? "Someone";
    this.#stopTyping(id, actor);
    const timer = setTimeout(() => this.#stopTyping(id, actor), TYPING_MS);
    if (!this.#typing.has(id)) this.#typing.set(id, new Map());
    this.#typing.get(id).set(actor, { name, timer });
    this.emit("typing", id);
  }

  #stopTyping(id, userId) {
    const entry = this.#typing.get(id)?.get(userId);
    if (!entry) return;
    clearTimeout(entry.timer);
    this.#typing.get(id).delete(userId);
    this.emit("typing", id);
  }
}
