import type { Query } from "./http.js";
import { type Greeting, HttpDoor } from "./http-door.js";
export declare class SseDoor extends HttpDoor {
    #private;
    readonly name = "sse";
    protected start(query: Query, signal: AbortSignal): Promise<Greeting>;
}
