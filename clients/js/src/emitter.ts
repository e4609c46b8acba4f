/* Named events for the client's parts.
 *
 * A listener that throws is reported and keeps nobody else from hearing: a fault in drawing one
 * row must not stop the delivery of events. */

export class Emitter<Types extends Record<string, unknown[]>> {
  #listeners = new Map<keyof Types, Set<(...values: any[]) => void>>();

  /** Call `listener` for every `type` from now on; returns the function that ends it. */
  on<Type extends keyof Types>(type: Type, listener: (...values: Types[Type]) => void): () => void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  protected emit<Type extends keyof Types>(type: Type, ...values: Types[Type]): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      guard(() => listener(...values));
    }
  }
}

/** Run what an application gave us; its fault is told on the console, and ends there. */
export function guard(run: () => unknown): void {
  try {
    const result = run();
    if (result instanceof Promise) result.catch(report);
  } catch (error) {
    report(error);
  }
}

function report(error: unknown): void {
  console.error("A listener failed.", error);
}
