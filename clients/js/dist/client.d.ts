import { Channel } from "./channel.js";
import { Core, type Types } from "./core.js";
import { type ConnectOptions } from "./options.js";
import type { OutboxEntry } from "./outbox.js";
import type { DoorName, Notification, Page, State } from "./types.js";
/** Connect, choose the door, and stay connected until `close()`. */
export declare function connect(options: ConnectOptions): Client;
export declare class Client {
    #private;
    readonly notifications: Notifications;
    readonly presence: Presence;
    constructor(options: ConnectOptions);
    /** How the client stands to the server, and through which door. */
    get state(): State;
    /** The user's id; null: not known yet. */
    get user(): string | null;
    /** The server's limits, as it told them at the socket. */
    get limits(): Record<string, number>;
    /** The id of the node that serves this client; undefined where the door does not tell (long-poll). */
    get node(): string | undefined;
    /** What waits to be sent. */
    get outbox(): import("./outbox.js").Outbox;
    /** Hear `state`, `event`, `signal`, `user_reset` or `bye`; returns the function that ends it. */
    on<Type extends keyof Types>(type: Type, listener: (...values: Types[Type]) => void): () => void;
    /** A channel, by its id or slug. */
    channel(id: string): Channel;
    /** A message to be sent in its turn, as a line to show: `outbox` tells what becomes of it. */
    queue(channel: string, body: string, more?: {
        data?: unknown;
        reply_to?: string;
    }): OutboxEntry;
    /** Resolves when the client is live; rejects when it has ended. */
    live(): Promise<State>;
    /** Use this door alone; null: choose again. Nothing is lost or doubled by it. */
    force(door: DoorName | null): void;
    /** Try at once: in a wait, on a lower door, or after the end (with a token that is good again). */
    reconnect(): void;
    /** End for good. What waits in the outbox stays in its storage. */
    close(): void;
    /** Call the REST API, below /api/v1, with the client's token. */
    call<Body = any>(method: string, path: string, body?: unknown): Promise<Body>;
}
export declare class Notifications {
    #private;
    constructor(core: Core);
    /** The newest first. Changes come as events `notification.*` of the client. */
    list(page?: {
        unread?: boolean;
        kind?: string;
        limit?: number;
        cursor?: string;
    }): Promise<Page<Notification>>;
    unread(): Promise<number>;
    /** Mark these, or all, as read; promises how many unread ones are left. */
    read(ids?: string[]): Promise<number>;
}
export declare class Presence {
    #private;
    constructor(core: Core);
    /** Be seen with this status, wherever this client is present; by the socket alone. */
    set(status: string): Promise<void>;
    /** Who of these users is online. */
    of(users: string[]): Promise<{
        user_id: string;
        online: boolean;
        status: string | null;
        since: string | null;
    }[]>;
}
