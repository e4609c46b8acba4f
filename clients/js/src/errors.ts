/* What can go wrong between a program and the server, as the program sees it.
 *
 * `code` is the protocol's: the same word at every door. The client's own codes (offline, timeout,
 * closed, protocol, and http_<status> for an answer that no Fanfare wrote) never come from a server. */

interface Facts {
  retryable?: boolean;
  status?: number;
  fields?: { field: string; message: string }[];
  retryAfterS?: number;
}

export class FanfareError extends Error {
  override name = "FanfareError";
  /** Whether the same request may succeed later. */
  retryable: boolean;
  status: number;
  fields: { field: string; message: string }[];
  retryAfterS: number;

  constructor(
    public code: string,
    detail?: string,
    { retryable = false, status = 0, fields = [], retryAfterS = 0 }: Facts = {},
  ) {
    super(detail || code);
    this.retryable = retryable;
    this.status = status;
    this.fields = fields;
    this.retryAfterS = retryAfterS;
  }
}

const TOKEN_CODES = new Set(["unauthorized", "token_expired", "token_revoked"]);
const RETRYABLE_STATUS = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Whether it means: this token will not do; another one may. */
export function isOfToken(error: FanfareError): boolean {
  return TOKEN_CODES.has(error.code);
}

/** Whether the network said it, and not a Fanfare: another door may be open. */
export function isOfNetwork({ code }: FanfareError): boolean {
  return ["offline", "timeout", "protocol"].includes(code) || code.startsWith("http_");
}

export function offline(detail = "The server can't be reached."): FanfareError {
  return new FanfareError("offline", detail, { retryable: true });
}

export function timeout(): FanfareError {
  return new FanfareError("timeout", "No answer came in time.", { retryable: true });
}

export function closed(): FanfareError {
  return new FanfareError("closed", "The client was closed.");
}

/** Anything that was thrown, as a FanfareError; what is not one yet may pass by itself. */
export function asError(thrown: unknown): FanfareError {
  if (thrown instanceof FanfareError) return thrown;
  return offline(thrown instanceof Error ? thrown.message : String(thrown));
}

/** The error of a socket: of an ack that is not ok, or the `data` of a refused connect. */
export function fromWire(error: any = {}): FanfareError {
  const code = error.code ?? "internal";
  return new FanfareError(code, error.detail, {
    retryable: error.retryable ?? ["unavailable", "draining", "too_many_connections"].includes(code),
    fields: error.errors,
    retryAfterS: error.retry_after,
  });
}

/** The error that a failed HTTP answer stands for, also when a proxy wrote it. */
export async function fromResponse(response: Response): Promise<FanfareError> {
  const problem = await response.json().catch(() => ({}));
  const detail = problem.detail || problem.title || `The server answered ${response.status}.`;
  return new FanfareError(problem.code ?? `http_${response.status}`, detail, {
    retryable: RETRYABLE_STATUS.has(response.status),
    status: response.status,
    fields: problem.errors,
    retryAfterS: Number(response.headers.get("Retry-After")) || 0,
  });
}
