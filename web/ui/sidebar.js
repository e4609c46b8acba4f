/* The list of my channels with what is unread, and who I am. */

import { titleOf } from "../channel.js";
import { byId, h, icon, perFrame, reconcile } from "./dom.js";
import { avatar, count, plural } from "./format.js";

const ICONS = { public: "hash", private: "lock", direct: "at" };

export class Sidebar {
  #store;
  #go;

  /** `go(channel)` is called when one is picked. */
  constructor(store, go) {
    this.#store = store;
    this.#go = go;
    const draw = perFrame(() => this.#draw());
    for (const type of ["channels", "channel", "open"]) store.on(type, draw);
    for (const id of ["channel-list", "direct-list"]) {
      byId(id).onkeydown = (event) => this.#move(event);
    }
    this.#drawUser();
    draw();
  }

  /** The channel `step` places from the open one, to go through them by keyboard. */
  neighbour(step) {
    const all = [...this.#named(), ...this.#direct()];
    const at = all.findIndex(({ id }) => id === this.#store.openId);
    return all[(at + step + all.length) % all.length] ?? null;
  }

  #named() {
    return this.#store.mine().filter(({ info }) => info.kind !== "direct");
  }

  #direct() {
    return this.#store.mine().filter(({ info }) => info.kind === "direct");
  }

  #draw() {
    const named = this.#named();
    const direct = this.#direct();
    const rows = {
      key: ({ id }) => id,
      make: (channel) => this.#make(channel),
      update: (node, channel) => this.#update(node, channel),
    };
    reconcile(byId("channel-list"), named, rows);
    reconcile(byId("direct-list"), direct, rows);
    byId("channel-none").hidden = named.length > 0;
    byId("direct-section").hidden = direct.length === 0;
    const elsewhere = this.#store.mine().some((c) => c.unread > 0 && c.id !== this.#store.openId);
    byId("sidebar-dot").hidden = !elsewhere;
  }

  #make(channel) {
    const button = h(
      "button",
      { type: "button", className: "channel", data: { testid: "channel-item" } },
      icon(ICONS[channel.info.kind] ?? "hash"),
      h("span", { className: "channel-name" }),
      h("span", { className: "count", data: { testid: "channel-unread" } }),
    );
    button.addEventListener("click", () => this.#go(this.#store.channels.get(channel.id)));
    return h("li", {}, button);
  }

  #update(row, channel) {
    const button = row.firstElementChild;
    const [, name, badge] = button.children;
    const title = titleOf(channel, this.#store.user.username);
    const unread = this.#store.unreadOf(channel);
    name.textContent = title;
    badge.textContent = unread ? count(unread) : "";
    badge.hidden = !unread;
    button.classList.toggle("unread", unread > 0);
    button.dataset.channelId = channel.id;
    button.dataset.slug = channel.info.slug ?? "";
    button.setAttribute("aria-label", label(title, unread));
    if (channel.id === this.#store.openId) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }

  #drawUser() {
    const { username, display_name } = this.#store.user;
    const button = byId("account");
    button.replaceChildren(
      avatar(username),
      h("span", { className: "account-text" },
        h("strong", {}, display_name || username),
        h("span", { className: "quiet" }, `@${username}`)),
    );
    button.setAttribute("aria-label", `Your account, ${username}`);
    button.dataset.username = username;
  }

  #move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...byId("sidebar").querySelectorAll(".channel")];
    const at = buttons.indexOf(document.activeElement);
    buttons[(at + step + buttons.length) % buttons.length]?.focus();
    event.preventDefault();
  }
}

function label(title, unread) {
  return unread ? `${title}, ${plural(unread, "unread message")}` : title;
}
