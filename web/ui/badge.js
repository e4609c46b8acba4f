/* The state of the connection, the door in use and the node; behind it the switch of doors. */

import { DOORS } from "../doors.js";
import { byId } from "./dom.js";

const WORDS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  offline: "Offline",
  ended: "Offline",
};
const HINTS = {
  auto: "The best door that works. From a lower one the better ones are tried again by and by.",
  socket: "WebSocket alone, whether it works or not.",
  sse: "Server-sent events alone; what you write goes by plain HTTP.",
  poll: "Long-poll alone: calls that wait for something to tell. What you write goes by plain HTTP.",
};

export class Badge {
  #client;
  #doors;
  #timer;

  constructor(client, doors) {
    this.#client = client;
    this.#doors = doors;
    byId("connection-retry").onclick = () => client.reconnect();
    byId("doors").onclick = ({ target }) => this.#choose(target.closest("button"));
    client.on("status", () => this.#draw());
    this.#draw();
  }

  #choose(button) {
    if (!button) return;
    this.#doors.choose(button.dataset.door);
    this.#client.force(this.#doors.forced);
    this.#draw();
  }

  #draw() {
    clearTimeout(this.#timer);
    const status = this.#client.status;
    this.#drawBadge(status);
    this.#drawPanel(status);
    // The seconds until the next try are counted down.
    if (status.retry_at > Date.now()) this.#timer = setTimeout(() => this.#draw(), 1000);
  }

  #drawBadge({ state, door, node }) {
    const badge = byId("connection");
    const isForced = Boolean(this.#doors.forced);
    const name = (door && DOORS[door]) ?? "";
    Object.assign(badge.dataset, { state: shown(state), door: door ?? "", node: node ?? "" });
    byId("connection-text").textContent = WORDS[state];
    byId("connection-door").textContent = name;
    byId("connection-only").textContent = name && isForced ? " only" : "";
    // The end of an id that begins with the time is what tells two of them apart.
    byId("connection-node").textContent = node ? node.slice(-6) : "";
    const words = [`Connection: ${WORDS[state]}`, name && `by ${name}`, node && `node ${node}`];
    badge.title = `${words.filter(Boolean).join(", ")}. Click for more.`;
    badge.setAttribute("aria-label", badge.title);
  }

  #drawPanel({ state, door, node, detail, retry_at }) {
    const { forced } = this.#doors;
    const seconds = Math.ceil((retry_at - Date.now()) / 1000);
    const wait = seconds > 0 ? `Next try in ${seconds} s.` : "";
    Object.assign(byId("connection-panel").dataset, { state: shown(state), door: door ?? "" });
    byId("connection-state").textContent = door ? `${WORDS[state]} by ${DOORS[door]}` : WORDS[state];
    const why = detail && state !== "live" ? `${detail.replace(/\.$/, "")}. ` : "";
    byId("connection-detail").textContent = why + wait;
    for (const button of byId("doors").children) {
      button.setAttribute("aria-pressed", button.dataset.door === (forced ?? ""));
    }
    byId("doors-hint").textContent = HINTS[forced ?? "auto"];
    byId("connection-where").textContent = node ?? (door ? "not told by this door" : "none");
  }
}

function shown(state) {
  return state === "ended" ? "offline" : state;
}
