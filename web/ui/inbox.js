/* The bell and the list of notifications. */

import { byId, h, iconButton, perFrame, reconcile } from "./dom.js";
import { ago, count, exact, plural } from "./format.js";
import { attempt } from "./toast.js";

export class InboxView {
  #client;
  #store;

  constructor(client, store) {
    this.#client = client;
    this.#store = store;
    const draw = perFrame(() => this.#draw());
    store.on("inbox", draw);
    byId("inbox-read").onclick = () => attempt(() => client.rest.post("/notifications/read"));
    byId("inbox-more").onclick = () => attempt(() => store.loadMoreInbox());
    draw();
  }

  #draw() {
    const { inbox } = this.#store;
    this.#drawBell(inbox.unread);
    const items = inbox.items();
    reconcile(byId("inbox"), items, {
      key: (item) => item.id,
      make: () => h("li", {}),
      update: (node, item) => this.#row(node, item),
    });
    byId("inbox-none").hidden = items.length > 0;
    byId("inbox-more").hidden = !inbox.nextCursor;
    byId("inbox-read").disabled = inbox.unread === 0;
    byId("inbox-summary").textContent = inbox.unread ? `${inbox.unread} unread` : "All read";
  }

  #drawBell(unread) {
    const badge = byId("bell-count");
    badge.hidden = unread === 0;
    badge.textContent = count(unread);
    const label = unread ? `Notifications, ${plural(unread, "unread one")}` : "Notifications";
    byId("bell").setAttribute("aria-label", label);
  }

  #row(node, item) {
    const drawn = String(item.version);
    if (node.dataset.drawn === drawn) return;
    Object.assign(node.dataset, { drawn, testid: "notification", id: item.id, read: item.read });
    node.className = `notification ${item.read ? "" : "unread"}`;
    const at = item.updated_at ?? item.created_at;
    node.replaceChildren(
      h("span", { className: "unread-dot", aria: { hidden: true } }),
      h("div", { className: "notification-text" },
        h("p", {}, h("strong", {}, item.title)),
        item.body ? h("p", { className: "notification-body" }, item.body) : null,
        h("p", { className: "quiet" }, `${item.kind} · `,
          h("time", { dateTime: at, title: exact(at) }, ago(at)))),
      this.#buttons(item),
    );
  }

  #buttons({ id, read, title }) {
    const { rest } = this.#client;
    const flip = () => attempt(() => rest.patch(`/notifications/${id}`, { read: !read }));
    const remove = () => attempt(() => rest.delete(`/notifications/${id}`));
    const word = read ? "unread" : "read";
    return h("div", { className: "notification-actions" },
      iconButton(read ? "undo" : "check", `Mark “${title}” as ${word}`, flip,
        { data: { testid: "notification-read" } }),
      iconButton("trash", `Delete “${title}”`, remove,
        { data: { testid: "notification-delete" } }));
  }
}
