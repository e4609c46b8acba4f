import type { FanfareError } from "./errors.js";
import type { Core } from "./core.js";
import type { RosterKeeper } from "./roster.js";
import type { FanfareEvent, LogPage, Message, Page, Position, ResetWord, Roster, Signal, Sync } from "./types.js";
export interface Handlers {
    /** Each event of the channel, once and in order. */
    event?(event: FanfareEvent): void;
    signal?(signal: Signal): void;
    /** Who is present, at first and after each change; with `presence: true`. */
    presence?(roster: Roster): void;
    /**
     * The log can't be gone on from: forget what you hold, and take a new sync(). Return a promise of
     * its `position`, and no event is missed or doubled. Return nothing, and it goes on at the top.
     */
    reset?(word: ResetWord): Promise<Position | void> | Position | void;
    /** The channel may not be read (any more), or is gone. The subscription has ended. */
    lost?(error: FanfareError): void;
}
export interface SubscribeOptions {
    /** Go on behind it. Absent: begin at the top. */
    after?: Position;
    /** Begin with so many of the newest events (0–1000); without `after`. */
    history?: number;
    /** Be shown as present in the channel, and hear who comes and goes. */
    presence?: boolean;
}
/** What follows a channel until `stop()`. */
export interface Subscription {
    /** Resolves when the channel is followed; rejects where it may not be. */
    readonly ready: Promise<void>;
    /** After the last event that was handled; null: before the first answer. Keep it to go on from there. */
    readonly position: Position | null;
    stop(): void;
}
export interface NewMessage {
    data?: unknown;
    reply_to?: string;
    key?: string;
}
export declare class Follower {
    readonly handlers: Handlers;
    readonly ready: Promise<void>;
    roster: RosterKeeper | null;
    level: () => void;
    fail: (error: FanfareError) => void;
    constructor(handlers: Handlers);
    lose(error: FanfareError): void;
}
export declare class Channel {
    #private;
    readonly id: string;
    readonly messages: Messages;
    /** `id` may be a slug. */
    constructor(core: Core, id: string);
    /**
     * Follow the channel: every event once and in order, across cuts and doors. Several may follow
     * one channel; `after` and `history` are for the first of them.
     */
    subscribe(handlers: Handlers, options?: SubscribeOptions): Subscription;
    /**
     * Publish an event of the application's own. Kept until the server has it, retried with its key,
     * in the order of the channel; a refusal rejects. `ephemeral`: a signal, sent once, perhaps lost.
     */
    publish(type: string, data: unknown, { key, ephemeral }?: {
        key?: string;
        ephemeral?: boolean;
    }): Promise<{
        position: Position | null;
        replayed: boolean;
    }>;
    /** Tell that the user is typing: a signal, perhaps lost. Call it at each key; it is not sent at each. */
    typing(): void;
    /** Move the read marker forward. */
    read(offset: number): Promise<{
        read_offset: number;
        unread: number;
    }>;
    /** The channel as it is now, and the position to follow it from. */
    sync({ messages }?: {
        messages?: number;
    }): Promise<Sync>;
    /** A page of the log, after an offset (of an epoch). */
    history(page?: {
        after?: number;
        epoch?: string;
        limit?: number;
        cursor?: string;
    }): Promise<LogPage>;
    /** Who is present now. */
    roster(): Promise<Roster>;
}
export declare class Messages {
    #private;
    constructor(core: Core, id: string);
    /** Write a message. Kept until the server has it, also over a reload; a refusal rejects. */
    create(body: string, { key, ...more }?: NewMessage): Promise<Message>;
    update(id: string, body: string): Promise<Message>;
    delete(id: string): Promise<Message>;
    /** A page of messages, the newest first; `before` and `after` are offsets. */
    list(page?: {
        before?: number;
        after?: number;
        author?: string;
        q?: string;
        sort?: string;
        limit?: number;
        cursor?: string;
    }): Promise<Page<Message>>;
}
