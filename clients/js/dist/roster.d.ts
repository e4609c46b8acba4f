import type { Roster, Signal } from "./types.js";
export declare class RosterKeeper {
    #private;
    constructor(read: () => Promise<Roster>, tell: (roster: Roster) => void);
    /** Begin with what a subscription gave; without it, read. */
    begin(roster: Roster | null | undefined): Promise<void>;
    hear({ type, data, at }: Signal): void;
}
