import type { Query } from "./http.js";
import { type Greeting, HttpDoor } from "./http-door.js";
export declare class PollDoor extends HttpDoor {
    #private;
    readonly name = "poll";
    protected start(query: Query, signal: AbortSignal): Promise<Greeting>;
}
