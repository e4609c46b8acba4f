import type { Http } from "./http.js";
/** Ask by REST for what `name` asks for at the socket; the reply is as an ack. */
export declare function askByRest(http: Http, name: string, data: unknown): Promise<any>;
