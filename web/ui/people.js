/* Who is in the open channel; owners and moderators add and remove. */

import { byId, h, iconButton, perFrame, reconcile } from "./dom.js";
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
    reconcile(byId("member-list"), members, {
      key: ({ user_id }) => user_id,
      make: () => h("li", { data: { testid: "member" } }),
      update: (node, member) => this.#update(node, channel, member),
    });
    const beyond = (channel?.memberCount ?? 0) - members.length;
    byId("member-more").textContent = beyond > 0 ? `and ${plural(beyond, "other")}` : "";
  }

  #update(node, channel, member) {
    // Kept while nothing changes, so that a role that is being chosen is not taken away.
    const drawn = JSON.stringify([channel.role, channel.info.kind, member.role]);
    if (node.dataset.drawn === drawn) return;
    Object.assign(node.dataset, { drawn, username: member.username, role: member.role });
    node.replaceChildren(...this.#parts(channel, member).filter(Boolean));
  }

  #parts(channel, member) {
    const { user_id, username } = member;
    const me = user_id === this.#store.user.id;
    const isFixed = channel.info.kind === "direct" || me;
    const removable = channel.canModerate && !isFixed && member.role !== "owner";
    const remove = () => attempt(() => this.#remove(channel, user_id));
    return [
      avatar(username, "small"),
      h("span", { className: "member-name" }, username,
        me ? h("span", { className: "quiet" }, " you") : null),
      channel.role === "owner" && !isFixed
        ? this.#roleChoice(channel, member)
        : h("span", { className: "role" }, member.role),
      removable
        ? iconButton("close", `Remove ${username}`, remove,
          { data: { testid: "member-remove" } })
        : null,
    ];
  }

  #roleChoice(channel, { user_id, username, role }) {
    const change = (event) => attempt(() => this.#setRole(channel, user_id, event.target.value));
    const option = (name) => h("option", { value: name, selected: name === role }, name);
    const select = h("select", { onChange: change, data: { testid: "member-role" } },
      ROLES.map(option));
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
