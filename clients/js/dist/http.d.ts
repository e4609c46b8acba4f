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
export declare class Http {
    #private;
    constructor(url: string, tokens: Tokens, fetch: Fetch, callMs: number);
    get<Body = any>(path: string, query?: Query): Promise<Body>;
    /** One call; its `body` is null where the answer has none. */
    call<Body = any>(method: string, path: string, options?: CallOptions): Promise<Reply<Body>>;
    /** Ask for a stream of events; the answer's body goes on until `signal` ends it. */
    open(path: string, query: Query, signal: AbortSignal): Promise<Response>;
}
/** A call without a token of ours, as a login is; `bearer` is a refresh token. */
export declare function callOpenly<Body>(fetch: Fetch, url: string, body: object | null, bearer?: string): Promise<Body>;
