/* The choice of a door: the one that this window is held to, and how soon a better one is tried.
 *
 * `?door=socket|sse|poll` holds the page to one door, and a choice on the page lasts as long as
 * its window. `?probe_s=5` tries a better door every 5 seconds, to watch it happen. */

const KEPT = "fanfare.door.forced";

/** The doors by their names, the best first. */
export const DOORS = { socket: "WebSocket", sse: "SSE", poll: "Long-poll" };

export class Doors {
  /** One door alone; null: the best that works. */
  forced;
  /** What the client is told to wait for. */
  timing = {};

  constructor({ search = location.search, storage = sessionStorage } = {}) {
    const asked = new URLSearchParams(search);
    this.#storage = storage;
    this.forced = known(storage.getItem(KEPT) ?? asked.get("door"));
    const probeMs = Number(asked.get("probe_s")) * 1000;
    if (probeMs > 0) this.timing = { probeMs, probeCapMs: probeMs };
  }

  #storage;

  choose(name) {
    this.forced = known(name);
    this.#storage.setItem(KEPT, this.forced ?? "auto");
  }
}

function known(name) {
  return Object.hasOwn(DOORS, name ?? "") ? name : null;
}
