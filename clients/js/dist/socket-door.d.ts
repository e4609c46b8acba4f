import { type Answers, type Door, type Sink, type Want } from "./door.js";
import { type Timing } from "./timing.js";
import type { Tokens } from "./tokens.js";
/** As much of a Socket.IO client's socket as is used here. */
export interface SocketLike {
    on(name: string, listener: (...values: any[]) => void): unknown;
    emit(name: string, data: unknown, ack: (reply: any) => void): unknown;
    close(): unknown;
}
/** Opens a socket; `io` of socket.io-client fits. */
export type SocketFactory = (url: string, options: Record<string, unknown>) => SocketLike | Promise<SocketLike>;
/** The stock client, loaded only where it is used: a page may bring a smaller one. */
export declare const stockSocket: SocketFactory;
export interface SocketDoorOptions {
    url: string;
    path: string;
    io: SocketFactory;
    tokens: Tokens;
    timing: Timing;
    wants: () => Want[];
    sink: Sink;
}
export declare class SocketDoor implements Door {
    #private;
    readonly name = "socket";
    constructor(options: SocketDoorOptions);
    open(): Promise<Answers>;
    take(wants: Want[]): Promise<Answers>;
    drop(stream: string): void;
    request(name: string, data: unknown): Promise<any>;
    close(): void;
}
