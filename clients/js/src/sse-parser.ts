/* `text/event-stream`, in pieces of any size. */

export interface SseMessage {
  event: string;
  data: string;
}

export class SseParser {
  #rest = "";
  #event = "";
  #data: string[] = [];

  /** Give the messages that end in this piece. */
  push(piece: string): SseMessage[] {
    // A CR at the end may be the half of a CRLF.
    const lines = (this.#rest + piece).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop()!;
    return lines.flatMap((line) => this.#read(line));
  }

  #read(line: string): SseMessage[] {
    if (line) this.#note(line);
    else if (this.#data.length) return [this.#take()];
    else this.#event = "";
    return [];
  }

  #note(line: string): void {
    const [, name, value] = /^([^:]*):? ?([^]*)$/.exec(line)!;
    if (name === "event") this.#event = value!;
    else if (name === "data") this.#data.push(value!);
  }

  #take(): SseMessage {
    const message = { event: this.#event || "message", data: this.#data.join("\n") };
    this.#event = "";
    this.#data = [];
    return message;
  }
}
