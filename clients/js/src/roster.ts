/* Who is present in one channel: a roster, and the signals of who comes and goes since.
 *
 * Signals may be dropped or overtake one another, so each is checked against its count; where it
 * does not fit, the roster is read anew. */

import type { PresentPerson, Roster, Signal } from "./types.js";

export class RosterKeeper {
  #read: () => Promise<Roster>;
  #tell: (roster: Roster) => void;
  #roster: Roster | null = null;
  #at = new Map<string, string>();
  #round = 0;

  constructor(read: () => Promise<Roster>, tell: (roster: Roster) => void) {
    this.#read = read;
    this.#tell = tell;
  }

  /** Begin with what a subscription gave; without it, read. */
  async begin(roster: Roster | null | undefined): Promise<void> {
    const round = ++this.#round;
    this.#at.clear();
    const known = roster ?? (await this.#read().catch(() => null));
    if (known && round === this.#round) this.#set(known);
  }

  hear({ type, data, at }: Signal): void {
    if (!type.startsWith("presence.") || !this.#roster) return;
    const { user_id: id, count, ...person } = data;
    if (!id) return this.#set({ count, people: null });
    if ((this.#at.get(id) ?? "") > at) return;
    this.#at.set(id, at);
    const others = (this.#roster.people ?? []).filter(({ user_id }) => user_id !== id);
    const here = { user_id: id, ...person } as PresentPerson;
    const people = type === "presence.left" ? others : [...others, here];
    if (people.length === count) this.#set({ count, people });
    else void this.begin(null);
  }

  #set(roster: Roster): void {
    this.#roster = roster;
    this.#tell(roster);
  }
}
