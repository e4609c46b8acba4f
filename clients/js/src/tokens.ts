/* A usable access token, always, from wherever the application has its tokens.
 *
 * The client never looks into a token's times: a clock that is wrong here must not end a
 * session. A token is used until the server refuses it or says that it is about to expire. */

import { FanfareError, asError } from "./errors.js";

/** `refused` is the token that will not do any more; null: any good one. */
export type TokenFunction = (ask: { refused: string | null }) => string | Promise<string>;
export type TokenSource = string | TokenFunction;

export class Tokens {
  /** The last token that was given out. */
  last: string | null = null;
  #source: TokenFunction;
  #flight: Promise<string> | null = null;

  constructor(source: TokenSource) {
    this.#source = typeof source === "string" ? () => source : source;
  }

  /** Promise a token that is not `refused`. Callers at the same time share one question. */
  get(refused: string | null = null): Promise<string> {
    if (this.last && this.last !== refused) return Promise.resolve(this.last);
    this.#flight ??= this.#ask(refused).finally(() => (this.#flight = null));
    return this.#flight;
  }

  async #ask(refused: string | null): Promise<string> {
    const token = await Promise.resolve(this.#source({ refused })).catch((thrown) => {
      throw asError(thrown);
    });
    // To try it again would be refused again, for ever.
    if (!token || token === refused) {
      throw new FanfareError("unauthorized", "No token is accepted.");
    }
    return (this.last = token);
  }
}

/** Whose token it is, by its own word; null where it can't be read. */
export function userOf(token: string | null): string | null {
  try {
    const claims = token!.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(atob(claims)).sub ?? null;
  } catch {
    return null; // not a JWT: the outbox and the own stream wait for the server to say who we are
  }
}
