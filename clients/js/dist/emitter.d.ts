export declare class Emitter<Types extends Record<string, unknown[]>> {
    #private;
    /** Call `listener` for every `type` from now on; returns the function that ends it. */
    on<Type extends keyof Types>(type: Type, listener: (...values: Types[Type]) => void): () => void;
    protected emit<Type extends keyof Types>(type: Type, ...values: Types[Type]): void;
}
/** Run what an application gave us; its fault is told on the console, and ends there. */
export declare function guard(run: () => unknown): void;
