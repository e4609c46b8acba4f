export type DoorName = "socket" | "sse" | "poll";
/** A place in a stream: after the event at that offset. */
export interface Position {
    offset: number;
    epoch: string;
}
/** Something that was logged: it has an offset, and is never lost. */
export interface FanfareEvent<Data = any> {
    stream: string;
    offset: number;
    type: string;
    data: Data;
    actor: string | null;
    key: string | null;
    at: string;
}
/** Something that is not logged and may be dropped: typing, presence, cursors. */
export interface Signal<Data = any> {
    stream: string;
    type: string;
    data: Data;
    actor: string | null;
    at: string;
}
export interface Message {
    id: string;
    channel_id: string;
    offset: number;
    version: number;
    author_id: string;
    author_username: string;
    body: string | null;
    data: unknown;
    reply_to: string | null;
    key: string | null;
    created_at: string;
    edited_at: string | null;
    deleted_at: string | null;
}
export interface Notification {
    id: string;
    user_id: string;
    kind: string;
    title: string;
    body: string | null;
    data: unknown;
    collapse: string | null;
    read: boolean;
    created_at: string;
    updated_at: string;
    version: number;
}
export interface PresentPerson {
    user_id: string;
    status: string;
    since: string;
    devices?: number;
    connections?: number;
}
/** Who is present in a channel; of very many there is only the count. */
export interface Roster {
    count: number;
    people: PresentPerson[] | null;
}
/** A channel as it is at `position`: show it, then follow from there. */
export interface Sync {
    channel: Record<string, any>;
    membership: Record<string, any> | null;
    members: Record<string, any>[];
    member_count: number;
    messages: Message[];
    presence: Roster | null;
    read_offset: number;
    unread: number;
    position: Position;
}
export interface Page<Item> {
    items: Item[];
    next_cursor: string | null;
}
/** A page of the log. */
export interface LogPage extends Page<FanfareEvent> {
    position: Position;
    more: boolean;
    reset: ResetWord | null;
}
/** Why a position can't be gone on from, and where the stream stands. */
export interface ResetWord {
    reason: "epoch" | "trimmed" | "ahead" | (string & {});
    top: Position;
    oldest?: number;
}
/** What a login, a registration or a refresh gives. */
export interface Grant {
    access_token: string;
    refresh_token: string;
    expires_in?: number;
    user?: Record<string, any>;
}
/** How the client stands to the server. `retry_at` is a time in ms, or 0. */
export interface State {
    state: "connecting" | "live" | "reconnecting" | "offline" | "ended";
    door: DoorName | null;
    detail: string;
    code: string;
    retry_at: number;
}
