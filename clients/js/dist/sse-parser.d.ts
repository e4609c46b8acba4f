export interface SseMessage {
    event: string;
    data: string;
}
export declare class SseParser {
    #private;
    /** Give the messages that end in this piece. */
    push(piece: string): SseMessage[];
}
