/* A Socket.IO client as small as the page needs it: protocol 5 over Engine.IO 4, namespace "/",
 * text packets, WebSocket alone. clients/js is given it in place of the stock one.
 *
 * A link is used once. It tells `connect_error` until it has joined, `disconnect` after that, and
 * every event of the server by its name. Acks that can't come any more are for others to give up. */

const OPEN_TIMEOUT_MS = 10_000;

/** Opens a socket, as `io` of the stock client does. */
export function io(url, { path, auth }) {
  return new Link(`${url.replace(/^http/, "ws")}${path}/?EIO=4&transport=websocket`, auth);
}

class Link {
  #ws;
  #auth;
  #listeners = new Map();
  #acks = new Map();
  #nextAckId = 0;
  #silenceTimer;
  #silenceMs = OPEN_TIMEOUT_MS;
  #joined = false;
  #closed = false;

  constructor(url, auth) {
    this.#auth = auth;
    this.#ws = new WebSocket(url);
    this.#ws.onmessage = (message) => this.#receive(message.data);
    this.#ws.onclose = () => this.#end("transport closed");
    this.#ws.onerror = () => this.#end("transport error");
    this.#listenForSilence();
  }

  on(name, listener) {
    this.#listeners.set(name, listener);
  }

  /** Send one event; `ack` is called with the server's answer, if that comes. */
  emit(name, data, ack) {
    const id = this.#nextAckId++;
    this.#acks.set(id, ack);
    this.#write(`42${id}${JSON.stringify([name, data])}`);
  }

  close() {
    if (this.#joined) this.#write("41");
    this.#listeners.clear();
    this.#end("closed here");
  }

  #tell(name, value) {
    this.#listeners.get(name)?.(value);
  }

  #write(frame) {
    if (this.#ws.readyState === WebSocket.OPEN) this.#ws.send(frame);
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
    if (packet[0] === "0") this.#joined = true;
    else if (packet[0] === "1") this.#end("the server ended the session");
    else if (packet[0] === "2") this.#hear(ackId, value);
    else if (packet[0] === "3") this.#settle(Number(ackId), value?.[0]);
    else if (packet[0] === "4") this.#end(value?.message, value?.data);
  }

  #hear(ackId, [name, data]) {
    if (ackId) this.#write(`43${ackId}[]`);
    this.#tell(name, data);
  }

  #settle(id, reply) {
    this.#acks.get(id)?.(reply);
    this.#acks.delete(id);
  }

  #listenForSilence() {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#end("the server went silent"), this.#silenceMs);
  }

  #end(message, data) {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#silenceTimer);
    this.#ws.onmessage = this.#ws.onclose = this.#ws.onerror = null;
    this.#ws.close();
    if (this.#joined) this.#tell("disconnect", message);
    else this.#tell("connect_error", Object.assign(new Error(message), { data }));
  }
}
