/* Small texts that outlive a reload, where the storage lets them. */

/** As much of the Web Storage API as is used here. */
export interface Storage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

export class Keep {
  #storage: Storage | null;
  #memory = new Map<string, unknown>();

  constructor(storage: Storage | null) {
    this.#storage = storage;
  }

  get(key: string): any {
    if (this.#memory.has(key)) return this.#memory.get(key);
    try {
      return JSON.parse(this.#storage?.getItem(key) ?? "null");
    } catch {
      return null; // somebody else's, or a storage that the browser has locked: as if it were empty
    }
  }

  set(key: string, value: unknown): void {
    this.#memory.set(key, value);
    try {
      this.#storage?.setItem(key, JSON.stringify(value));
    } catch (error) {
      console.warn("Nothing is kept over a reload.", error); // full, or locked
    }
  }
}

/** What lasts as long as the tab; nothing in Node.js, or where a page may not keep anything. */
export function tabStorage(): Storage | null {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null; // a frame without access throws at the mere question
  }
}
