/* What is asked for by either way: a packet where there is a socket, REST where there is none.
 *
 * Both take effect once and say the same; a key makes a retry by the other way the same call. */

import type { Http } from "./http.js";
import type { Position } from "./types.js";

type Route = [method: string, path: string, body?: unknown];

const ROUTES: Record<string, (data: any) => Route> = {
  "message.create": ({ channel, ...body }) => ["POST", `/channels/${channel}/messages`, body],
  "message.update": ({ channel, id, body }) => ["PATCH", `/channels/${channel}/messages/${id}`, { body }],
  "message.delete": ({ channel, id }) => ["DELETE", `/channels/${channel}/messages/${id}`],
  publish: ({ stream, ...body }) => ["POST", `/channels/${stream.slice(8)}/events`, body],
  read: ({ channel, offset }) => ["PUT", `/channels/${channel}/read`, { offset }],
  typing: ({ channel }) => ["POST", `/channels/${channel}/typing`, {}],
};

/** Ask by REST for what `name` asks for at the socket; the reply is as an ack. */
export async function askByRest(http: Http, name: string, data: unknown): Promise<any> {
  const [method, path, body] = ROUTES[name]!(data);
  const { body: reply, headers } = await http.call(method, path, { body });
  const position = positionOf(headers.get("Fanfare-Position"));
  const replayed = headers.get("Idempotent-Replay") === "true";
  return name.startsWith("message.")
    ? { message: reply, position, replayed }
    : { ...reply, position, replayed };
}

function positionOf(header: string | null): Position | null {
  const [, offset, epoch] = /@(\d+)\/(.+)$/.exec(header ?? "") ?? [];
  return epoch ? { offset: Number(offset), epoch } : null;
}
