/* The state that the page draws: my channels, the open one, the inbox, who is typing.
 *
 * It joins snapshots with events and tells the views what changed:
 * `channels`, `channel` (id), `open`, `inbox`, `arrival` (channel, message) and `notice`
 * (text). It knows no document. */

import { Channel } from "./channel.js";
import { Emitter } from "./emitter.js";
import { Inbox } from "./inbox.js";
import { InboxLoader } from "./inbox-loader.js";
import { Typists } from "./typists.js";

const SYNC_MESSAGES = 50;
const PAGE = 50;
const FOLLOWED_UNOPENED = 0.8;
const GONE = { not_found: "was deleted", forbidden: "is no longer open to you" };

export class Store extends Emitter {
  channels = new Map();
  inbox = new Inbox();
  typists = new Typists();
  openId = null;
  watched = true;

  #client;
  #inboxLoader;
  #opening = 0;
  #flights = new Map();

  constructor(client) {
    super();
    this.#client = client;
    this.#inboxLoader = new InboxLoader(client.rest, this.inbox, () => this.emit("inbox"));
    client.on("event", (event) => this.#apply(event));
    client.on("signal", (signal) => this.#applySignal(signal));
    client.on("snapshot", (id, sync) => this.#applySync(id, sync));
    client.on("user_reset", () => this.load());
    client.on("lost", (loss) => this.#applyLoss(loss));
    client.outbox.on("change", (id) => this.emit("channel", id));
    client.outbox.on("sent", ({ channel }, { message }) => this.#take(channel, message));
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

  /** What I wrote and is not in the log yet; a snapshot may know better than a lost ack. */
  pending(channel) {
    return this.#client.outbox.entries(channel.id).filter(({ key }) => !channel.holds(key));
  }

  /** Read the lists; safe to repeat, as each item carries the position that it is true at. */
  async load() {
    await Promise.all([this.#loadChannels(), this.#inboxLoader.load()]);
  }

  loadMoreInbox() {
    return this.#inboxLoader.more();
  }

  /** Open a channel by id or slug; one that I am not in is shown and followed while open. */
  async openChannel(ref) {
    const run = ++this.#opening;
    const known = this.#find(ref);
    const channel = known?.synced ? known : await this.sync(known?.id ?? ref);
    if (run !== this.#opening) return channel;
    if (this.openId !== channel.id) this.#leaveOpen();
    this.openId = channel.id;
    this.emit("open");
    return channel;
  }

  closeChannel() {
    this.#opening++;
    this.#leaveOpen();
    this.openId = null;
    this.emit("open");
  }

  /** Take a channel's snapshot and follow it from there; those who ask at once share one. */
  sync(ref) {
    const land = () => this.#flights.delete(ref);
    const flight = this.#flights.get(ref) ?? this.#sync(ref).finally(land);
    this.#flights.set(ref, flight);
    return flight;
  }

  async #sync(ref) {
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
    const { unread } = await this.#client.channel(channel.id).read(last.offset);
    channel.markRead(last.offset, unread);
    this.#channelChanged(channel.id);
  }

  async #loadChannels() {
    const before = this.mine();
    const items = await this.#client.rest.all("/channels", { member: "me" });
    for (const item of items) this.#applyItem(item);
    const listed = new Set(items.map(({ id }) => id));
    // One that was joined while the list was on its way is not in it, and stays.
    for (const { id } of before) if (!listed.has(id)) this.#forget(id);
    this.emit("channels");
  }

  #applyItem(item) {
    // A channel that is followed already is ahead of what a list can tell.
    if (this.#client.follows(item.id)) return;
    this.#ensure(item).applyItem(item);
    this.#follow(item.id, item.position, false);
  }

  #find(ref) {
    const all = [...this.channels.values()];
    return all.find(({ info }) => info.id === ref || info.slug === ref);
  }

  #ensure(info) {
    if (!this.channels.has(info.id)) this.channels.set(info.id, new Channel(info, this.user.id));
    return this.channels.get(info.id);
  }

  #follow(id, position, needed) {
    // Some room is kept for channels that are opened; those beyond it are counted on opening.
    const { following, maxChannels: most } = this.#client;
    if (!needed && following >= most * FOLLOWED_UNOPENED) return;
    if (following >= most) this.#unfollowOne(id);
    this.#client.follow(id, position);
  }

  #unfollowOne(exceptId) {
    const spare = [...this.channels.values()].find(
      ({ id }) => id !== exceptId && id !== this.openId && this.#client.follows(id),
    );
    if (!spare) return;
    spare.synced = false;
    this.#client.unfollow(spare.id);
  }

  #leaveOpen() {
    const channel = this.open;
    if (channel && !channel.membership) this.#forget(channel.id);
  }

  #forget(id) {
    this.channels.delete(id);
    this.#client.unfollow(id);
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
    if (event.type === "channel.deleted") return this.#remove(channel, GONE.not_found);
    channel.apply(event);
    this.#channelChanged(channel.id);
    if (event.type !== "message.created") return;
    this.typists.remove(channel.id, event.actor);
    if (event.actor !== this.user.id) this.emit("arrival", channel, event.data);
  }

  #applyMine(event) {
    const { type, data } = event;
    if (type.startsWith("notification.")) this.#inboxLoader.apply(event);
    else if (type === "read.moved") this.#applyRead(data);
    else if (type === "channel.deleted") this.#applyDeleted(data.id);
    else if (type === "member.left") this.#applyLeft(data.channel_id);
    else if (type.startsWith("member.")) this.#applyMembership(data);
  }

  #applyDeleted(id) {
    const channel = this.channels.get(id);
    if (channel) this.#remove(channel, GONE.not_found);
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
    if (channel.info.kind !== "public") this.#remove(channel, GONE.forbidden);
    else if (id === this.openId) this.#becomeVisitor(channel);
    else this.#remove(channel);
  }

  #becomeVisitor(channel) {
    channel.membership = null;
    channel.unread = 0;
    this.#channelChanged(channel.id);
  }

  #applyLoss({ stream, code }) {
    const channel = this.channels.get(stream.slice("channel:".length));
    if (!channel) return;
    const why = GONE[code] ?? GONE.forbidden;
    if (channel.info.kind !== "public") return this.#remove(channel, why);
    // A visitor may still read it: the snapshot tells, and follows it anew.
    this.sync(channel.id).catch(() => this.#remove(channel, why));
  }

  #remove(channel, why) {
    const { name } = channel.info;
    const { outbox } = this.#client;
    for (const { key } of outbox.entries(channel.id)) outbox.remove(key);
    this.#forget(channel.id);
    if (channel.id === this.openId) this.closeChannel();
    if (why) this.emit("notice", `${name} ${why}.`);
    this.emit("channels");
  }

  #applySignal({ stream, type, actor }) {
    if (type !== "typing" || actor === this.user.id) return;
    const id = stream.slice("channel:".length);
    const member = this.channels.get(id)?.members.get(actor);
    this.typists.add(id, actor, member?.username ?? "Someone");
  }
}
