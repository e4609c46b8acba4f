import type { Door, Want } from "./door.js";
import { FanfareError } from "./errors.js";
import type { FanfareEvent, Position, ResetWord, Roster } from "./types.js";
export interface StreamListener {
    event(event: FanfareEvent): void;
    /** The log can't be gone on from. Promises the position of a new snapshot; none: go on at the top. */
    reset(stream: string, word: ResetWord): unknown;
    lost(stream: string, error: FanfareError): void;
    /** The stream is followed by the door in use. */
    level(stream: string, roster: Roster | null | undefined): void;
}
export declare class Streams {
    #private;
    constructor(listener: StreamListener);
    get size(): number;
    has(stream: string): boolean;
    position(stream: string): Position | null;
    /** Follow a stream. One that is followed is left as it is. */
    follow(want: Want): void;
    /** Ask for a stream that is followed once more, for a listener who came later. */
    again(stream: string, presence: boolean): void;
    unfollow(stream: string): void;
    /** Forget everything. */
    close(): void;
    /** Begin at a position, where none is known yet. */
    begin(stream: string, position: Position): void;
    /** All that is to be followed, from where it stands now. */
    wants(): Want[];
    /** Open a door and follow everything through it; one that is in use stays so meanwhile. */
    open(door: Door): Promise<void>;
    /** A door is not in use any more. */
    leave(door: Door): void;
    receive(event: FanfareEvent): void;
    receiveReset(stream: string, word: ResetWord): void;
    receiveLoss(stream: string, code: string): void;
}
