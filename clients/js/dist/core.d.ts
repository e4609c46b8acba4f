import type { Follower, SubscribeOptions, Subscription } from "./channel.js";
import { Connection } from "./connection.js";
import type { Verdict } from "./door.js";
import { Emitter } from "./emitter.js";
import { Http } from "./http.js";
import type { Options } from "./options.js";
import { Outbox } from "./outbox.js";
import { Streams } from "./streams.js";
import { Tokens } from "./tokens.js";
import type { FanfareEvent, Signal, State } from "./types.js";
export interface Types extends Record<string, unknown[]> {
    state: [State];
    /** Every event of every stream that is followed, the user's own among them. */
    event: [FanfareEvent];
    signal: [Signal];
    /** The user's own stream was reset: read anew what you hold of it. */
    user_reset: [];
    /** The server asked us to leave, and said why. */
    bye: [Verdict];
}
export declare class Core extends Emitter<Types> {
    #private;
    readonly http: Http;
    readonly outbox: Outbox;
    readonly connection: Connection;
    readonly streams: Streams;
    readonly tokens: Tokens;
    /** The user's id; null: not known yet. */
    user: string | null;
    limits: Record<string, number>;
    /** The node that greeted us last; undefined: it did not say. */
    node: string | undefined;
    constructor(options: Options);
    /** Ask the server, by the socket where there is one, else by REST. */
    ask(name: string, data: unknown): Promise<any>;
    /** Ask for something that names its end state, so that it may be asked again; for a while. */
    change(name: string, data: unknown): Promise<any>;
    typing(channel: string): void;
    /** Set the status in which others see this connection; set again at each socket. */
    setStatus(status: string): Promise<void>;
    follow(id: string, follower: Follower, options: SubscribeOptions): Subscription;
    close(): void;
}
