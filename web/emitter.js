/* Named events for the client's parts.
 *
 * A listener that throws is reported and does not keep the others from hearing:
 * a fault in drawing one row must not stop the delivery of events. */

export class Emitter {
  #listeners = new Map();

  /** Call `listener` for every `type` from now on; returns the function that ends it. */
  on(type, listener) {
    if (!this.#listeners.has(type)) this.#listeners.set(type, new Set());
    this.#listeners.get(type).add(listener);
    return () => this.#listeners.get(type).delete(listener);
  }

  emit(type, ...values) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(...values);
      } catch (error) {
        console.error(`A listener of "${type}" failed.`, error);
      }
    }
  }
}
