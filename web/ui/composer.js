/* The message box: Enter sends, Shift+Enter breaks the line, a draft is kept by channel. */

import { byId } from "./dom.js";

const MAX_HEIGHT_PX = 220;

export class Composer {
  #on;
  #input = byId("composer-input");
  #channel = null;
  #replyTo = null;
  #drafts = new Map();

  /** `on` has `send(body, replyTo)`, `type()`, `editLast()` and `maxBytes()`. */
  constructor(on) {
    this.#on = on;
    byId("composer").onsubmit = (event) => {
      event.preventDefault();
      this.#send();
    };
    this.#input.onkeydown = (event) => this.#key(event);
    this.#input.oninput = () => this.#typed();
    byId("replying-stop").onclick = () => this.#stopReplying();
  }

  /** Stand for another channel; what was half written stays with its own. */
  show(channel, title) {
    if (this.#channel) this.#drafts.set(this.#channel.id, this.#input.value);
    this.#channel = channel;
    this.#replyTo = null;
    this.#input.value = this.#drafts.get(channel?.id) ?? "";
    this.#input.placeholder = `Message ${title}`;
    this.#drawReply();
    this.#drawInput();
  }

  focus() {
    this.#input.focus();
  }

  reply(message) {
    this.#replyTo = message;
    this.#drawReply();
    this.focus();
  }

  #key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) this.#send();
    else if (event.key === "Escape" && this.#replyTo) this.#stopReplying();
    else if (event.key === "ArrowUp" && !event.altKey && !this.#input.value) this.#on.editLast();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #typed() {
    this.#drawInput();
    if (this.#input.value.trim()) this.#on.type();
  }

  #send() {
    const body = this.#input.value.trim();
    if (!body || this.#excess(body) > 0) return;
    this.#on.send(body, this.#replyTo?.id ?? null);
    this.#input.value = "";
    this.#replyTo = null;
    this.#drawReply();
    this.#drawInput();
  }

  #excess(body) {
    return new TextEncoder().encode(body).length - this.#on.maxBytes();
  }

  #stopReplying() {
    this.#replyTo = null;
    this.#drawReply();
    this.focus();
  }

  #drawReply() {
    byId("replying").hidden = !this.#replyTo;
    const { author_username, body } = this.#replyTo ?? {};
    byId("replying-text").textContent = this.#replyTo
      ? `Replying to ${author_username}: ${body.slice(0, 80)}`
      : "";
  }

  #drawInput() {
    const body = this.#input.value.trim();
    const excess = this.#excess(body);
    const fault = excess > 0 ? `The message is ${excess} bytes too long.` : "";
    byId("composer-fault").textContent = fault;
    byId("composer-send").disabled = !body || Boolean(fault);
    this.#input.style.height = "auto";
    this.#input.style.height = `${Math.min(MAX_HEIGHT_PX, this.#input.scrollHeight)}px`;
  }
}
