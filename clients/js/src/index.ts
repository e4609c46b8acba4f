/* The client for Fanfare: one log, through whichever door is open. */

export { Client, Notifications, Presence, connect } from "./client.js";
export { Channel, Messages } from "./channel.js";
export type { Handlers, NewMessage, SubscribeOptions, Subscription } from "./channel.js";
export type { Verdict } from "./door.js";
export { FanfareError } from "./errors.js";
export type { Storage } from "./keep.js";
export type { ConnectOptions } from "./options.js";
export { Outbox } from "./outbox.js";
export type { OutboxEntry } from "./outbox.js";
export { browserStore, logIn, memoryStore, register, session } from "./session.js";
export type { SessionOptions, SessionStore } from "./session.js";
export type { SocketFactory, SocketLike } from "./socket-door.js";
export { TIMING } from "./timing.js";
export type { Timing } from "./timing.js";
export type { TokenFunction, TokenSource } from "./tokens.js";
export * from "./types.js";
