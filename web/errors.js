/* What can go wrong between the page and the server, as the page sees it.
 *
 * `code` is the protocol's: the same word over REST and over the socket. A code of the
 * page's own (offline, timeout, protocol) never comes from a server. */

export class FanfareError extends Error {
  constructor(code, detail, { retryable = false, status = 0, fields = [], retryAfterS = 0 } = {}) {
    super(detail || code);
    this.name = "FanfareError";
    this.code = code;
    this.retryable = retryable;
    this.status = status;
    this.fields = fields;
    this.retryAfterS = retryAfterS;
  }
}

/** The codes that mean: this token will not do; another one may. */
export const TOKEN_CODES = new Set(["unauthorized", "token_expired", "token_revoked"]);

const RETRYABLE_STATUS = new Set([408, 429, 502, 503, 504]);

export function offline(detail = "There is no connection to the server.") {
  return new FanfareError("offline", detail, { retryable: true });
}

export function fromAck(error = {}) {
  return new FanfareError(error.code ?? "internal", error.detail, {
    retryable: Boolean(error.retryable),
    fields: error.errors ?? [],
    retryAfterS: error.retry_after ?? 0,
  });
}

/** The error that a failed REST reply stands for, also when a proxy wrote it. */
export async function fromResponse(response) {
  const problem = await response.json().catch(() => ({}));
  return new FanfareError(problem.code ?? `http_${response.status}`, describe(problem, response), {
    retryable: RETRYABLE_STATUS.has(response.status),
    status: response.status,
    fields: problem.errors ?? [],
    retryAfterS: Number(response.headers.get("Retry-After")) || 0,
  });
}

function describe(problem, response) {
  return problem.detail || problem.title || `The server answered ${response.status}.`;
}
