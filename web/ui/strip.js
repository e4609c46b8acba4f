/* The event strip: each event and signal as it comes, newest first, with its JSON. */

import { byId, h, perFrame } from "./dom.js";
import { clockMs } from "./format.js";

const KEPT = 200;

export class Strip {
  #nameOf;
  #waiting = [];
  #seen = 0;
  #paused = false;
  #list = byId("strip");
  #draw = perFrame(() => this.#flush());

  /** `nameOf(stream)` gives the words to show for a stream. */
  constructor(client, nameOf) {
    this.#nameOf = nameOf;
    client.on("event", (event) => this.#add(event));
    client.on("signal", (signal) => this.#add(signal));
    client.on("reset", ({ stream, reason }) => this.#add(note(stream, `reset: ${reason}`)));
    this.#wire();
    this.#clear();
  }

  #wire() {
    byId("strip-clear").onclick = () => this.#clear();
    byId("strip-pause").onclick = () => this.#pause(!this.#paused);
    byId("strip-signals").onchange = (event) => {
      this.#list.classList.toggle("no-signals", !event.target.checked);
    };
  }

  #pause(paused) {
    this.#paused = paused;
    byId("strip-pause").setAttribute("aria-pressed", paused);
    byId("strip-pause").textContent = paused ? "Resume" : "Pause";
    if (!paused) this.#draw();
  }

  #clear() {
    this.#waiting = [];
    this.#seen = 0;
    this.#list.replaceChildren();
    this.#summarise();
  }

  #add(item) {
    this.#seen++;
    this.#waiting.push(item);
    // In a flood only what can be shown is kept.
    if (this.#waiting.length > KEPT) this.#waiting.shift();
    if (!this.#paused) this.#draw();
  }

  #flush() {
    this.#list.prepend(...this.#waiting.splice(0).reverse().map((item) => this.#row(item)));
    while (this.#list.children.length > KEPT) this.#list.lastElementChild.remove();
    this.#summarise();
  }

  #summarise() {
    byId("strip-summary").textContent = this.#seen ? `${this.#seen} seen` : "";
    byId("strip-none").hidden = this.#seen > 0;
  }

  #row(item) {
    const signal = item.offset === undefined;
    const { stream, type, offset = "", at } = item;
    return h(
      "li",
      {
        className: `event ${signal ? "signal" : ""}`,
        data: { testid: "event-row", type, stream, offset, signal },
      },
      this.#fold(item, signal, at),
    );
  }

  #fold(item, signal, at) {
    const pre = h("pre", { data: { testid: "event-json" } });
    const details = h("details", {}, this.#summary(item, signal, at), pre);
    // The JSON is written only for those that are looked at.
    details.addEventListener("toggle", () => {
      pre.textContent = details.open ? JSON.stringify(item, null, 2) : "";
    });
    return details;
  }

  #summary({ stream, type, offset }, signal, at) {
    const noun = type.split(".")[0];
    const where = signal
      ? h("span", { className: "tag" }, "signal")
      : h("span", { className: "offset", data: { testid: "event-offset" } }, String(offset));
    return h(
      "summary",
      { title: stream },
      h("span", { className: `noun noun-${noun}`, aria: { hidden: true } }),
      h("span", { className: "event-type" }, type),
      where,
      h("span", { className: "event-stream" }, this.#nameOf(stream)),
      h("time", {}, clockMs(at)),
    );
  }
}

function note(stream, type) {
  return { stream, type, data: null, at: new Date().toISOString() };
}
