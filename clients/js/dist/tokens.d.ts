/** `refused` is the token that will not do any more; null: any good one. */
export type TokenFunction = (ask: {
    refused: string | null;
}) => string | Promise<string>;
export type TokenSource = string | TokenFunction;
export declare class Tokens {
    #private;
    /** The last token that was given out. */
    last: string | null;
    constructor(source: TokenSource);
    /** Promise a token that is not `refused`. Callers at the same time share one question. */
    get(refused?: string | null): Promise<string>;
}
/** Whose token it is, by its own word; null where it can't be read. */
export declare function userOf(token: string | null): string | null;
