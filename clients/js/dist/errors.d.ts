interface Facts {
    retryable?: boolean;
    status?: number;
    fields?: {
        field: string;
        message: string;
    }[];
    retryAfterS?: number;
}
export declare class FanfareError extends Error {
    code: string;
    name: string;
    /** Whether the same request may succeed later. */
    retryable: boolean;
    status: number;
    fields: {
        field: string;
        message: string;
    }[];
    retryAfterS: number;
    constructor(code: string, detail?: string, { retryable, status, fields, retryAfterS }?: Facts);
}
/** Whether it means: this token will not do; another one may. */
export declare function isOfToken(error: FanfareError): boolean;
/** Whether the network said it, and not a Fanfare: another door may be open. */
export declare function isOfNetwork({ code }: FanfareError): boolean;
export declare function offline(detail?: string): FanfareError;
export declare function timeout(): FanfareError;
export declare function closed(): FanfareError;
/** Anything that was thrown, as a FanfareError; what is not one yet may pass by itself. */
export declare function asError(thrown: unknown): FanfareError;
/** The error of a socket: of an ack that is not ok, or the `data` of a refused connect. */
export declare function fromWire(error?: any): FanfareError;
/** The error that a failed HTTP answer stands for, also when a proxy wrote it. */
export declare function fromResponse(response: Response): Promise<FanfareError>;
export {};
