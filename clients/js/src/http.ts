/* Calls over plain HTTP, with a token that renews itself and errors as FanfareError.
 *
 * A call that was refused for its token is tried once more with a new one. */

import { FanfareError, asError, fromResponse, isOfToken, offline, timeout } from "./errors.js";
import { TIMING } from "./timing.js";
import type { Tokens } from "./tokens.js";

export type Fetch = typeof globalThis.fetch;
export type Query = Record<string, string | number | boolean | null | undefined>;

export interface CallOptions {
  query?: Query;
  body?: unknown;
  signal?: AbortSignal;
  timeoutMs?: number;
}

export interface Reply<Body = any> {
  body: Body;
  headers: Headers;
}

export class Http {
  #base: string;
  #tokens: Tokens;
  #fetch: Fetch;
  #callMs: number;

  constructor(url: string, tokens: Tokens, fetch: Fetch, callMs: number) {
    this.#base = `${url}/api/v1`;
    this.#tokens = tokens;
    this.#fetch = fetch;
    this.#callMs = callMs;
  }

  get<Body = any>(path: string, query?: Query): Promise<Body> {
    return this.call<Body>("GET", path, { query }).then(({ body }) => body);
  }

  /** One call; its `body` is null where the answer has none. */
  async call<Body = any>(method: string, path: string, options: CallOptions = {}): Promise<Reply<Body>> {
    const limit = deadline(options.signal, options.timeoutMs ?? this.#callMs);
    try {
      const response = await this.#send(method, path, options, limit.signal);
      const text = await response.text();
      return { body: text ? JSON.parse(text) : null, headers: response.headers };
    } catch (error) {
      if (limit.isOver()) throw timeout();
      if (error instanceof SyntaxError) throw garbled();
      throw asError(error);
    } finally {
      limit.clear();
    }
  }

  /** Ask for a stream of events; the answer's body goes on until `signal` ends it. */
  async open(path: string, query: Query, signal: AbortSignal): Promise<Response> {
    try {
      const response = await this.#send("GET", path, { query }, signal, "text/event-stream");
      if (response.headers.get("Content-Type")?.startsWith("text/event-stream")) return response;
      void response.body?.cancel();
      throw garbled();
    } catch (error) {
      throw asError(error);
    }
  }

  async #send(
    method: string,
    path: string,
    { query, body }: CallOptions,
    signal: AbortSignal,
    accept = "application/json",
  ): Promise<Response> {
    let token = await this.#tokens.get();
    for (let attempt = 0; ; attempt++) {
      const headers: Record<string, string> = { Accept: accept, Authorization: `Bearer ${token}` };
      if (body !== undefined) headers["Content-Type"] = "application/json";
      const response = await this.#fetch(this.#base + path + encode(query), {
        method,
        headers,
        signal,
        body: body === undefined ? null : JSON.stringify(body),
        cache: "no-store",
      });
      if (response.ok) return response;
      const error = await fromResponse(response);
      if (attempt || !isOfToken(error)) throw error;
      token = await this.#tokens.get(token);
    }
  }
}

/** A call without a token of ours, as a login is; `bearer` is a refresh token. */
export async function callOpenly<Body>(
  fetch: Fetch,
  url: string,
  body: object | null,
  bearer?: string,
): Promise<Body> {
  const headers: Record<string, string> = {};
  if (body) headers["Content-Type"] = "application/json";
  if (bearer) headers["Authorization"] = `Bearer ${bearer}`;
  const limit = deadline(undefined, TIMING.callMs);
  try {
    const text = body && JSON.stringify(body);
    const response = await fetch(url, { method: "POST", headers, body: text, signal: limit.signal });
    if (!response.ok) throw await fromResponse(response);
    return (await response.json()) as Body;
  } catch (error) {
    throw asError(error);
  } finally {
    limit.clear();
  }
}

function encode(query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value != null && value !== "");
  return given.length ? `?${new URLSearchParams(given as [string, string][])}` : "";
}

function garbled(): FanfareError {
  return new FanfareError("protocol", "No answer of Fanfare's.", { retryable: true });
}

// AbortSignal.any() is too young for the browsers and Node.js that this serves.
function deadline(outer: AbortSignal | undefined, ms: number) {
  const inner = new AbortController();
  let over = false;
  const end = () => inner.abort(offline("The call was given up."));
  const timer = setTimeout(() => ((over = true), end()), ms);
  if (outer?.aborted) end();
  outer?.addEventListener("abort", end);
  return {
    signal: inner.signal,
    isOver: () => over,
    clear: () => {
      clearTimeout(timer);
      outer?.removeEventListener("abort", end);
    },
  };
}
