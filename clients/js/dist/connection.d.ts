import { type Door, type Sink } from "./door.js";
import { Emitter } from "./emitter.js";
import type { Keep } from "./keep.js";
import type { Streams } from "./streams.js";
import { type Timing } from "./timing.js";
import type { DoorName, State } from "./types.js";
export declare const DOORS: readonly DoorName[];
export interface ConnectionOptions {
    doors: readonly DoorName[];
    make: (name: DoorName, sink: Sink) => Door;
    /** Where what is heard goes; how a door ends is heard here. */
    sink: Omit<Sink, "ended">;
    streams: Streams;
    timing: Timing;
    keep: Keep;
}
export declare class Connection extends Emitter<{
    state: [State];
}> {
    #private;
    state: State;
    constructor(options: ConnectionOptions);
    /** The door in use; null: none. */
    get door(): Door | null;
    start(): void;
    stop(): void;
    /** Skip the rest of a wait, and try a better door at once: the network or the user came back. */
    retryNow(): void;
    /** Use this door alone, whether it works or not; null: the best that works. */
    force(name: DoorName | null): void;
    /** Leave the door in use, and come back at once; `suspect`: by a lower one. */
    leave(code: "suspect" | "forced", detail?: string): void;
}
