/** As much of the Web Storage API as is used here. */
export interface Storage {
    getItem(key: string): string | null;
    setItem(key: string, value: string): void;
}
export declare class Keep {
    #private;
    constructor(storage: Storage | null);
    get(key: string): any;
    set(key: string, value: unknown): void;
}
/** What lasts as long as the tab; nothing in Node.js, or where a page may not keep anything. */
export declare function tabStorage(): Storage | null;
