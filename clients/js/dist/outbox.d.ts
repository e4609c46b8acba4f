import { Emitter } from "./emitter.js";
import type { Keep } from "./keep.js";
import type { FanfareEvent, Position } from "./types.js";
/** What waits to be sent. `failed`: it was refused, and stays until `retry` or `remove`. */
export interface OutboxEntry {
    key: string;
    channel: string;
    /** `message.create` or `publish`. */
    name: string;
    /** Its fields, as the packet of that name has them. */
    data: Record<string, unknown>;
    /** When it was written. */
    at: string;
    state: "sending" | "failed";
    detail: string;
}
interface OutboxTypes extends Record<string, unknown[]> {
    /** The entries of a channel are others. */
    change: [channel: string];
    /** The server has it: an ack, or (after a lost ack) an event of ours. */
    sent: [entry: OutboxEntry, reply: any];
}
export declare class Outbox extends Emitter<OutboxTypes> {
    #private;
    constructor(ask: (name: string, data: unknown) => Promise<any>, keep: Keep);
    /** All entries, or those of a channel, in the order in which they were written. */
    entries(channel?: string): OutboxEntry[];
    /** Write something; it is sent as soon as it can be. */
    add(name: string, channel: string, data: Record<string, unknown>, key?: string): OutboxEntry;
    /** Write something, and promise the server's answer. A refusal rejects, and nothing stays. */
    send(name: string, channel: string, data: Record<string, unknown>, key?: string): Promise<any>;
    /** Send an entry again that was refused. */
    retry(key: string): void;
    /** Forget an entry: its writer gave it up. It may have taken effect all the same. */
    remove(key: string): void;
    /** Take up what an earlier page of this user left. */
    load(userId: string): void;
    /** There is a door: send. */
    connect(): void;
    disconnect(): void;
    /** An event of ours came, at `position`: what it tells of is in the log, also where its ack is lost. */
    hear({ stream, key, data }: FanfareEvent, position: Position): void;
    close(): void;
}
export {};
