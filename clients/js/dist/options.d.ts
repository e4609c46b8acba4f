import type { Fetch } from "./http.js";
import { type Storage } from "./keep.js";
import { type SocketFactory } from "./socket-door.js";
import { type Timing } from "./timing.js";
import type { TokenSource } from "./tokens.js";
import type { DoorName } from "./types.js";
export interface ConnectOptions {
    /** Where the server is, as `https://example.org`; in a browser by default where the page is from. */
    url?: string;
    /** An access token, or a function that gives one; session() makes one that refreshes. */
    token: TokenSource;
    /** The user's id, where it is known already: what an earlier page left in the outbox is shown at once. */
    user?: string;
    /** The doors that may be used. By default all: `["socket", "sse", "poll"]`. */
    doors?: readonly DoorName[];
    /** How a socket is opened. By default by socket.io-client, which is loaded for it. */
    io?: SocketFactory;
    /** What the outbox survives a reload in. By default sessionStorage; in Node.js nothing. */
    storage?: Storage | null;
    fetch?: Fetch;
    timing?: Partial<Timing>;
}
export interface Options {
    url: string;
    token: TokenSource;
    user: string | null;
    doors: readonly DoorName[];
    io: SocketFactory;
    storage: Storage | null;
    fetch: Fetch;
    timing: Timing;
}
export declare function complete(given: ConnectOptions): Options;
