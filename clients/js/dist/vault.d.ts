export interface Vault {
    read<T>(): Promise<T | undefined>;
    update<T>(change: (value: T | undefined) => T | undefined): Promise<T | undefined>;
}
/** One value by its key. `update` replaces it (undefined removes it); nobody comes in between. */
export declare function vaultOf(key: string): Vault;
/**
 * Run work while no other tab runs any under the same name. Web Locks do it where they exist; a
 * page on plain http:// beyond localhost has none, and there a lease in IndexedDB does, which ends
 * by itself: a tab that was closed while it held one keeps nobody waiting for long.
 */
export declare function lockOf(name: string): <T>(work: () => Promise<T>) => Promise<T>;
