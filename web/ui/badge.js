/* The state of the connection, and on which node it is; a click tries again at once. */

import { byId } from "./dom.js";

const WORDS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  offline: "Offline",
};

export class Badge {
  #client;

  constructor(client) {
    this.#client = client;
    byId("connection").onclick = () => client.reconnect();
    client.on("status", () => this.#draw());
    this.#draw();
  }

  #draw() {
    const { state, node, detail } = this.#client.status;
    const badge = byId("connection");
    badge.dataset.state = state;
    byId("connection-text").textContent = WORDS[state];
    badge.dataset.node = node ?? "";
    // The end of an id that begins with the time is what tells two of them apart.
    byId("connection-node").textContent = state === "live" && node ? node.slice(-6) : "";
    const where = node ? `Node ${node}. ` : "";
    const hint = state === "live" ? "" : `${detail ? `${detail}. ` : ""}Click to try now.`;
    badge.title = where + hint;
    badge.setAttribute("aria-label", `Connection: ${WORDS[state]}. ${where}${hint}`);
  }
}
