/* The dialogs about channels: create one, find one, change or leave one.
 *
 * They are wired once; `now()` gives the client and the store of whoever is signed in. */

import { byId, h, icon } from "./dom.js";
import { exact } from "./format.js";
import { clearFaults, confirm, onSubmit, openDialog } from "./forms.js";
import { findUser } from "./people.js";
import { attempt } from "./toast.js";

const HINTS = {
  public: "Everyone who is signed in can find it, read it and join.",
  private: "Only those who were added can see it.",
  direct: "Between you and one other user.",
};
const FIND_DELAY_MS = 150;

export class ChannelDialogs {
  #now;
  #go;
  #findTimer;

  /** `go(id)` opens a channel. */
  constructor(now, go) {
    this.#now = now;
    this.#go = go;
    this.#wire();
  }

  create() {
    const form = byId("create-form");
    form.reset();
    clearFaults(form);
    this.#drawKind();
    openDialog("create-dialog");
    byId("create-name").focus();
  }

  browse() {
    byId("browse-query").value = "";
    byId("browse-list").replaceChildren();
    openDialog("browse-dialog");
    byId("browse-query").focus();
    attempt(() => this.#find());
  }

  settings() {
    const channel = this.#now().store.open;
    if (!channel) return;
    clearFaults(byId("settings-form"));
    byId("settings-name").value = channel.info.name ?? "";
    byId("settings-topic").value = channel.info.topic ?? "";
    this.#drawRights(channel);
    byId("settings-facts").replaceChildren(...facts(channel));
    openDialog("settings-dialog");
  }

  #wire() {
    onSubmit(byId("create-form"), (values) => this.#create(values));
    byId("create-form").addEventListener("change", () => this.#drawKind());
    onSubmit(byId("settings-form"), (values) => this.#save(values));
    byId("settings-leave").addEventListener("click", () => attempt(() => this.#leave()));
    byId("settings-delete").addEventListener("click", () => attempt(() => this.#delete()));
    byId("browse-query").addEventListener("input", () => this.#findSoon());
    byId("browse-query").addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === "ArrowDown") {
        byId("browse-list").querySelector("button")?.focus();
        event.preventDefault();
      }
    });
  }

  #drawKind() {
    const { kind } = Object.fromEntries(new FormData(byId("create-form")));
    byId("create-hint").textContent = HINTS[kind];
    for (const node of byId("create-form").querySelectorAll("[data-kind]")) {
      node.hidden = (node.dataset.kind === "direct") !== (kind === "direct");
    }
  }

  async #create({ kind, name, slug, topic, username }) {
    const { client, store } = this.#now();
    const body = kind === "direct"
      ? await this.#direct(username)
      : { kind, name: name.trim(), ...given({ slug: slug.trim(), topic: topic.trim() }) };
    const channel = await client.rest.post("/channels", body);
    await store.sync(channel.id);
    byId("create-dialog").close();
    this.#go(channel);
  }

  async #direct(username) {
    const { client } = this.#now();
    const other = await findUser(client.rest, username);
    const name = `${client.user.username}, ${other.username}`.slice(0, 80);
    return { kind: "direct", name, members: [other.id] };
  }

  #findSoon() {
    clearTimeout(this.#findTimer);
    this.#findTimer = setTimeout(() => attempt(() => this.#find()), FIND_DELAY_MS);
  }

  async #find() {
    const q = byId("browse-query").value.trim();
    const { client, store } = this.#now();
    const { items } = await client.rest.get("/channels", { kind: "public", q, sort: "name" });
    if (q !== byId("browse-query").value.trim()) return;
    byId("browse-list").replaceChildren(...items.map((info) => this.#found(info, store)));
    byId("browse-none").hidden = items.length > 0;
  }

  #found(info, store) {
    const joined = Boolean(store.channels.get(info.id)?.membership);
    const join = () => attempt(() => this.#join(info));
    const data = { testid: "browse-item", slug: info.slug ?? "", channelId: info.id };
    return h("li", { data },
      this.#opener(info),
      joined
        ? h("span", { className: "role" }, "Joined")
        : h("button", { type: "button", onClick: join, data: { testid: "browse-join" } }, "Join"));
  }

  #opener(info) {
    const data = { testid: "browse-open" };
    const onClick = () => this.#pick(info);
    return h("button", { type: "button", className: "browse-open", onClick, data },
      icon("hash"),
      h("span", { className: "browse-text" },
        h("strong", {}, info.name), h("span", { className: "quiet" }, info.topic ?? "")));
  }

  #pick(info) {
    byId("browse-dialog").close();
    this.#go(info);
  }

  async #join(info) {
    const { client, store } = this.#now();
    await client.rest.put(`/channels/${info.id}/members/me`);
    await store.sync(info.id);
    this.#pick(info);
  }

  #drawRights(channel) {
    const named = channel.info.kind !== "direct";
    const may = channel.canModerate && named;
    byId("settings-name").disabled = byId("settings-topic").disabled = !may;
    byId("settings-save").hidden = !may;
    byId("settings-leave").hidden = !named;
    byId("settings-delete").hidden = channel.role !== "owner";
  }

  async #save({ name, topic }) {
    const { client, store } = this.#now();
    const change = { name: name.trim(), topic: topic.trim() };
    await client.rest.patch(`/channels/${store.openId}`, change);
    byId("settings-dialog").close();
  }

  async #leave() {
    const { client, store } = this.#now();
    const { id, name } = store.open.info;
    const detail = "Its messages stay with those who are in it.";
    if (!(await confirm(`Leave ${name}?`, detail, "Leave"))) return;
    await client.rest.delete(`/channels/${id}/members/me`);
    byId("settings-dialog").close();
  }

  async #delete() {
    const { client, store } = this.#now();
    const { id, name } = store.open.info;
    const detail = "The channel and all its messages will be gone for everyone.";
    if (!(await confirm(`Delete ${name}?`, detail, "Delete"))) return;
    await client.rest.delete(`/channels/${id}`);
    byId("settings-dialog").close();
  }
}

function given(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value));
}

function facts({ info, role }) {
  const rows = [["Kind", info.kind], ["Your role", role], ["Address", info.slug ?? info.id],
    ["Created", exact(info.created_at)]];
  return rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
}
