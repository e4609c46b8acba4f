/* What the page knows of one channel: a snapshot and the events since.
 *
 * A message is replaced only by a newer version of itself, so a snapshot, a page of history
 * and events may arrive in any order and overlap. Pure: no network, no document. */

const MAX_UNREAD = 1000;
const WINDOW = 400;

export class Channel {
  info;
  membership = null;
  members = new Map();
  memberCount = 0;
  unread = 0;
  readOffset = 0;
  synced = false;
  complete = false;

  #userId;
  #at = 0;
  #messages = new Map();
  #keys = new Set();
  #from = Infinity;
  #shown = null;
  #syncs = 0;
  #since = [];

  constructor(info, userId) {
    this.info = info;
    this.#userId = userId;
  }

  get id() {
    return this.info.id;
  }

  get role() {
    return this.membership?.role ?? null;
  }

  get canPost() {
    return ["owner", "moderator", "member"].includes(this.role);
  }

  get canModerate() {
    return ["owner", "moderator"].includes(this.role);
  }

  /** The offset of the first message that is loaded, to ask for the page before it. */
  get oldest() {
    return this.#from;
  }

  /** Take an item of the list of my channels. */
  applyItem({ membership, unread, position, ...info }) {
    this.info = info;
    this.#setMembership(membership);
    this.unread = unread;
    this.#at = Math.max(this.#at, position.offset);
  }

  /** A snapshot has been asked for: what comes from now on may be newer than it. */
  expectSync() {
    this.#syncs++;
  }

  /** The snapshot that was asked for came, or will not come. */
  endSync() {
    if (--this.#syncs === 0) this.#since = [];
  }

  applySync(sync, wanted) {
    this.info = sync.channel;
    this.members = new Map(sync.members.map((member) => [member.user_id, member]));
    this.memberCount = sync.member_count ?? sync.members.length;
    this.#setMembership(sync.membership);
    this.unread = sync.unread ?? 0;
    this.readOffset = sync.read_offset ?? 0;
    this.#at = sync.position.offset;
    this.synced = true;
    // What was loaded before this snapshot may lie beyond a hole; the pages are read anew.
    this.#messages.clear();
    this.#keys.clear();
    this.#from = sync.messages[0]?.offset ?? Infinity;
    this.complete = sync.messages.length < wanted;
    for (const message of sync.messages) this.upsert(message);
    this.#shown = null;
    for (const event of this.#since) this.#applyOnce(event);
  }

  /** Take a page of older messages, in any order. */
  applyPage(items, complete) {
    for (const message of items) {
      this.upsert(message);
      this.#from = Math.min(this.#from, message.offset);
    }
    this.complete = complete;
    this.#shown = null;
  }

  /** The loaded messages, oldest first; tombstones are among them. */
  messages() {
    this.#shown ??= [...this.#messages.values()]
      .filter((message) => message.offset >= this.#from)
      .sort((a, b) => a.offset - b.offset);
    return this.#shown;
  }

  /** Whether a message of mine with this key is here, and so in the log. */
  holds(key) {
    return this.#keys.has(key);
  }

  find(messageId) {
    return this.#messages.get(messageId) ?? null;
  }

  upsert(message) {
    const known = this.#messages.get(message.id);
    if (known && known.version >= message.version) return;
    this.#messages.set(message.id, message);
    if (message.author_id === this.#userId) this.#keys.add(message.key);
    if (this.#from === Infinity) this.#from = message.offset;
    this.#shown = null;
  }

  /** Let the oldest go, so that a page left open for a week stays light. */
  trim() {
    const shown = this.messages();
    if (shown.length <= WINDOW * 1.5) return;
    this.#from = shown[shown.length - WINDOW].offset;
    for (const message of shown.slice(0, -WINDOW)) this.#messages.delete(message.id);
    this.complete = false;
    this.#shown = null;
  }

  markRead(offset, unread) {
    if (offset < this.readOffset) return;
    this.readOffset = offset;
    this.unread = unread;
  }

  /** Apply one event of this channel's stream; those that the snapshot holds are passed over. */
  apply(event) {
    if (this.#syncs > 0) this.#since.push(event);
    this.#applyOnce(event);
  }

  #applyOnce(event) {
    const [noun, verb] = event.type.split(".");
    if (event.offset <= this.#at) return;
    if (noun === "message" && this.synced) this.upsert(event.data);
    this.#at = event.offset;
    if (noun === "message") this.#count(verb, event.data);
    else if (event.type === "channel.updated") this.info = { ...this.info, ...event.data };
    else if (noun === "member") this.#applyMember(verb, event.data);
  }

  #count(verb, message) {
    if (message.author_id === this.#userId || message.offset <= this.readOffset) return;
    if (verb === "created") this.unread = Math.min(MAX_UNREAD, this.unread + 1);
    if (verb === "deleted") this.unread = Math.max(0, this.unread - 1);
  }

  #applyMember(verb, member) {
    const known = this.members.has(member.user_id);
    if (verb === "left") this.members.delete(member.user_id);
    else this.members.set(member.user_id, { ...this.members.get(member.user_id), ...member });
    if (verb === "joined" && !known) this.memberCount++;
    if (verb === "left") this.memberCount = Math.max(0, this.memberCount - 1);
    if (member.user_id === this.#userId) this.#setMembership(verb === "left" ? null : member);
  }

  #setMembership(membership) {
    this.membership = membership ?? null;
    if (membership?.read_offset !== undefined) {
      this.readOffset = Math.max(this.readOffset, membership.read_offset);
    }
  }
}

/** The name to show; of a direct channel that is the other user's. */
export function titleOf(channel, username) {
  const { kind, name, slug } = channel.info;
  if (kind !== "direct") return name || slug;
  const other = [...channel.members.values()].find((member) => member.username !== username);
  if (other) return other.username;
  return name?.split(", ").find((part) => part !== username) ?? name ?? "direct";
}
