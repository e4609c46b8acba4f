/* The REST calls that the client has no word for, made with its token. */

export class Rest {
  #client;

  constructor(client) {
    this.#client = client;
  }

  get(path, query) {
    return this.#client.call("GET", path + encode(query));
  }

  post(path, body = {}) {
    return this.#client.call("POST", path, body);
  }

  put(path, body = {}) {
    return this.#client.call("PUT", path, body);
  }

  patch(path, body) {
    return this.#client.call("PATCH", path, body);
  }

  delete(path) {
    return this.#client.call("DELETE", path);
  }

  /** All items of a list, page after page, at most `max`. */
  async all(path, query, max = 1000) {
    const items = [];
    for (let cursor; items.length < max; ) {
      const page = await this.get(path, { ...query, limit: 200, cursor });
      items.push(...page.items);
      cursor = page.next_cursor;
      if (!cursor) break;
    }
    return items;
  }
}

function encode(query = {}) {
  const given = Object.entries(query).filter(([, value]) => value != null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
