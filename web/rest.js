/* The REST calls, with a token that renews itself and errors as `FanfareError`.
 *
 * A call that was refused for its token is tried once more with a new one. */

import { TOKEN_CODES, fromResponse, offline } from "./errors.js";

const BASE = "/api/v1";
const TIMEOUT_MS = 15_000;

/** One call; promises the parsed body, or null when there is none. */
export async function call(method, path, { body, query, token } = {}) {
  const response = await send(method, path + encode(query), body, token);
  if (!response.ok) throw await fromResponse(response);
  return response.status === 204 ? null : response.json();
}

export class Rest {
  #tokens;

  constructor(tokens) {
    this.#tokens = tokens;
  }

  get(path, query) {
    return this.#call("GET", path, { query });
  }

  post(path, body = {}) {
    return this.#call("POST", path, { body });
  }

  put(path, body = {}) {
    return this.#call("PUT", path, { body });
  }

  patch(path, body) {
    return this.#call("PATCH", path, { body });
  }

  delete(path) {
    return this.#call("DELETE", path);
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

  async #call(method, path, options = {}) {
    const token = await this.#tokens.get();
    try {
      return await call(method, path, { ...options, token });
    } catch (error) {
      if (error.status !== 401 || !TOKEN_CODES.has(error.code)) throw error;
      const renewed = await this.#tokens.get({ refused: token });
      return call(method, path, { ...options, token: renewed });
    }
  }
}

function send(method, path, body, token) {
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return fetch(BASE + path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT_MS),
    cache: "no-store",
  }).catch(() => {
    throw offline("The server could not be reached.");
  });
}

function encode(query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
