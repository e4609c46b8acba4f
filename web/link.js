/* One WebSocket's life in Socket.IO protocol 5 over Engine.IO 4, namespace "/".
 *
 * A link is used once: it opens, joins the namespace, carries packets and acks, and closes.
 * Whatever ends it, `onClose` is called exactly once and every open request is refused, so
 * that nobody waits for an ack that cannot come. Binary packets are not part of it. */

import { FanfareError, fromAck, offline } from "./errors.js";

const OPEN_TIMEOUT_MS = 10_000;

export class Link {
  #ws;
  #auth;
  #on;
  #acks = new Map();
  #nextAckId = 0;
  #silenceTimer;
  #silenceMs = OPEN_TIMEOUT_MS;
  #joined = false;
  #closed = false;

  /** `on`: `onJoin()`, `onRefused({code, detail})`, `onEvent(name, data)`, `onClose(reason)`. */
  constructor(url, auth, on, { WebSocketClass = WebSocket } = {}) {
    this.#auth = auth;
    this.#on = on;
    this.#ws = new WebSocketClass(url);
    this.#ws.onmessage = (message) => this.#receive(message.data);
    this.#ws.onclose = () => this.#end("transport closed");
    this.#ws.onerror = () => this.#end("transport error");
    this.#listenForSilence();
  }

  /** Send one event, promise its ack's object; `ok: false`, time and the link's end reject it. */
  request(name, data, timeoutMs) {
    if (!this.#joined || this.#closed) return Promise.reject(offline());
    const id = this.#nextAckId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#expire(id), timeoutMs);
      this.#acks.set(id, { resolve, reject, timer });
      this.#write(`42${id}${JSON.stringify([name, data])}`);
    });
  }

  close(reason = "closed here") {
    if (this.#joined && !this.#closed) this.#write("41");
    this.#end(reason);
  }

  #write(frame) {
    if (this.#ws.readyState === 1) this.#ws.send(frame);
  }

  #receive(frame) {
    if (this.#closed) return;
    this.#listenForSilence();
    try {
      this.#read(frame);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#end("the server sent what is not the protocol");
    }
  }

  #read(frame) {
    if (typeof frame !== "string") throw new SyntaxError("binary");
    if (frame[0] === "0") this.#greet(JSON.parse(frame.slice(1)));
    else if (frame[0] === "1") this.#end("the server closed");
    else if (frame[0] === "2") this.#write(`3${frame.slice(1)}`);
    else if (frame[0] === "4") this.#readPacket(frame.slice(1));
  }

  #greet({ pingInterval, pingTimeout }) {
    // The server pings; a link on which nothing came for a whole round is dead, though the
    // browser may believe in it for minutes more.
    this.#silenceMs = pingInterval + pingTimeout;
    this.#listenForSilence();
    this.#write(`40${JSON.stringify(this.#auth)}`);
  }

  #readPacket(packet) {
    const [, ackId, json] = /^(\d*)([^]*)$/.exec(packet.slice(1));
    const value = json ? JSON.parse(json) : undefined;
    if (packet[0] === "0") this.#join();
    else if (packet[0] === "1") this.#end("the server ended the session");
    else if (packet[0] === "2") this.#hear(ackId, value);
    else if (packet[0] === "3") this.#settle(Number(ackId), value?.[0]);
    else if (packet[0] === "4") this.#refuse(value);
  }

  #join() {
    this.#joined = true;
    this.#on.onJoin();
  }

  #hear(ackId, [name, data]) {
    if (ackId) this.#write(`43${ackId}[]`);
    this.#on.onEvent(name, data);
  }

  #settle(id, reply) {
    const ack = this.#take(id);
    if (!ack) return;
    if (reply?.ok) ack.resolve(reply);
    else ack.reject(fromAck(reply?.error));
  }

  #refuse(value) {
    const { code = "unauthorized", detail, ...rest } = value?.data ?? {};
    this.#on.onRefused({ code, detail: detail ?? value?.message, ...rest });
    this.#end(`refused: ${code}`);
  }

  #expire(id) {
    const detail = "The server did not answer in time.";
    this.#take(id)?.reject(new FanfareError("timeout", detail, { retryable: true }));
  }

  #take(id) {
    const ack = this.#acks.get(id);
    this.#acks.delete(id);
    clearTimeout(ack?.timer);
    return ack;
  }

  #listenForSilence() {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#end("the server went silent"), this.#silenceMs);
  }

  #end(reason) {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#silenceTimer);
    this.#ws.onmessage = this.#ws.onclose = this.#ws.onerror = null;
    this.#ws.close();
    for (const id of [...this.#acks.keys()]) this.#take(id).reject(offline());
    this.#on.onClose(reason);
  }
}
