import { type Fetch } from "./http.js";
import type { TokenFunction } from "./tokens.js";
import type { Grant } from "./types.js";
/** Where a login is kept. `lock` lets nobody in between, of all that share the store. */
export interface SessionStore {
    read(): Promise<Grant | null | undefined>;
    write(grant: Grant | null): Promise<unknown>;
    lock<T>(work: () => Promise<T>): Promise<T>;
}
export interface SessionOptions {
    url?: string;
    /** What a login gave; it need not be given where the store has one. */
    grant?: Grant;
    /** By default IndexedDB in browsers, shared by all tabs, under `name`; memory in Node.js. */
    store?: SessionStore;
    name?: string;
    fetch?: Fetch;
}
interface EnterOptions {
    /** At a registration: the name that others see. */
    display_name?: string;
    fetch?: Fetch;
}
export declare const logIn: (url: string, username: string, password: string, { fetch, ...more }?: EnterOptions) => Promise<Grant>;
export declare const register: (url: string, username: string, password: string, { fetch, ...more }?: EnterOptions) => Promise<Grant>;
/** A `token` function for connect(), which refreshes when it has to. */
export declare function session({ url, grant, name, store, fetch, }: SessionOptions): TokenFunction;
/** Kept in this process alone. */
export declare function memoryStore(): SessionStore;
/** Kept in IndexedDB, under a name, for all tabs of this browser. */
export declare function browserStore(name: string): SessionStore;
export {};
