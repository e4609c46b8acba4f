/* Who is in the open channel; owners and moderators add and remove. */

import { byId, h, iconButton, perFrame } from "./dom.js";
import { avatar, plural } from "./format.js";
import { onSubmit } from "./forms.js";
import { attempt } from "./toast.js";

const ROLES = ["owner", "moderator", "member", "guest"];

/** The user with exactly this name, or an error to show. */
export async function findUser(rest, username) {
  const wanted = username.trim().toLowerCase().replace(/^@/, "");
  if (!wanted) throw new Error("Give a username.");
  const { items } = await rest.get("/users", { q: wanted, limit: 50 });
  const user = items.find((item) => item.username === wanted);
  if (!user) throw new Error(`There is no user ${wanted}.`);
  return user;
}

export class People {
  #client;
  #store;

  constructor(client, store) {
    this.#client = client;
    this.#store = store;
    const draw = perFrame(() => this.#draw());
    store.on("open", draw);
    store.on("channel", (id) => id === store.openId && draw());
    draw();
  }

  /** Add by the form; called once for all sessions, as forms are wired once. */
  async add({ username }) {
    const { id } = this.#store.open;
    const user = await findUser(this.#client.rest, username);
    await this.#client.rest.put(`/channels/${id}/members/${user.id}`, { role: "member" });
    byId("member-form").reset();
  }

  #draw() {
    const channel = this.#store.open;
    const mayAdd = Boolean(channel?.canModerate) && channel.info.kind !== "direct";
    byId("member-form").hidden = !mayAdd;
    byId("member-none").hidden = Boolean(channel);
    const members = channel ? [...channel.members.values()].sort(byRole) : [];
    byId("member-list").replaceChildren(...members.map((member) => this.#row(channel, member)));
    const beyond = (channel?.memberCount ?? 0) - members.length;
    if (beyond > 0) byId("member-list").append(h("li", { className: "quiet pad" }, `and ${plural(beyond, "other")}`));
  }

  #row(channel, member) {
    const { user_id, username } = member;
    const me = user_id === this.#store.user.id;
    const removable = channel.canModerate && !me && member.role !== "owner";
    const remove = () => attempt(() => this.#remove(channel, user_id));
    return h(
      "li",
      { data: { testid: "member", username, role: member.role } },
      avatar(username, "small"),
      h("span", { className: "member-name" }, username, me ? h("span", { className: "quiet" }, " you") : null),
      channel.role === "owner" && !me && channel.info.kind !== "direct"
        ? this.#roleChoice(channel, member)
        : h("span", { className: "role" }, member.role),
      removable && channel.info.kind !== "direct"
        ? iconButton("close", `Remove ${username}`, remove, { data: { testid: "member-remove" } })
        : null,
    );
  }

  #roleChoice(channel, { user_id, username, role }) {
    const change = (event) => attempt(() => this.#setRole(channel, user_id, event.target.value));
    const options = ROLES.map((name) => h("option", { value: name, selected: name === role }, name));
    const select = h("select", { onChange: change, data: { testid: "member-role" } }, options);
    select.setAttribute("aria-label", `Role of ${username}`);
    return select;
  }

  #setRole(channel, userId, role) {
    return this.#client.rest.put(`/channels/${channel.id}/members/${userId}`, { role });
  }

  #remove(channel, userId) {
    return this.#client.rest.delete(`/channels/${channel.id}/members/${userId}`);
  }
}

function byRole(a, b) {
  return ROLES.indexOf(a.role) - ROLES.indexOf(b.role) || a.username.localeCompare(b.username);
}

/** Wire the form once; `people()` gives the view of whoever is signed in now. */
export function wireMemberForm(people) {
  onSubmit(byId("member-form"), (values) => people().add(values));
}
