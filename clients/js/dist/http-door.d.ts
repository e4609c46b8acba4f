import { type Answers, type Door, type Sink, type Verdict, type Want } from "./door.js";
import type { Http, Query } from "./http.js";
import type { Timing } from "./timing.js";
import type { Tokens } from "./tokens.js";
import type { DoorName, Position } from "./types.js";
export interface HttpDoorOptions {
    http: Http;
    tokens: Tokens;
    timing: Timing;
    wants: () => Want[];
    sink: Sink;
}
/** How a feed begins: where it stands in every stream, by full names. */
export interface Greeting {
    streams?: Record<string, string>;
    node?: string | undefined;
    positions: Record<string, Position>;
    unsubscribed?: {
        stream: string;
        code: string;
    }[];
}
export declare abstract class HttpDoor implements Door {
    #private;
    abstract readonly name: DoorName;
    protected options: HttpDoorOptions;
    constructor(options: HttpDoorOptions);
    /** Begin a feed, and go on with it until `signal` ends it, or it ends: then call `end`. */
    protected abstract start(query: Query, signal: AbortSignal): Promise<Greeting>;
    open(): Promise<Answers>;
    take(): Promise<Answers>;
    drop(): void;
    close(): void;
    /** Begin the feed anew, as with a fresh token. */
    protected restart(): void;
    protected end(verdict: Verdict): void;
}
/** The same, without what was lost: the server takes names of what is followed alone. */
export declare function presenceIn(presence: Query[string], positions: Record<string, Position>): string | undefined;
