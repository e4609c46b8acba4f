/* The door: log in, register, or go on as somebody who is signed in already. */

import { logIn, register } from "/static/client/fanfare.js";

import { byId, h } from "./dom.js";
import { avatar } from "./format.js";
import { clearFaults, onSubmit } from "./forms.js";

const MODES = {
  login: { title: "Log in", autocomplete: "current-password" },
  register: { title: "Create an account", autocomplete: "new-password" },
};

export class AuthView {
  #accounts;
  #enter;
  #mode = "login";

  /** `enter(userId)` is called once the user is signed in. */
  constructor(accounts, enter) {
    this.#accounts = accounts;
    this.#enter = enter;
    byId("auth-login").addEventListener("click", () => this.#setMode("login"));
    byId("auth-register").addEventListener("click", () => this.#setMode("register"));
    onSubmit(byId("auth-form"), (values) => this.#submit(values));
  }

  show(notice = "") {
    const line = byId("auth-notice");
    line.textContent = notice;
    line.hidden = !notice;
    byId("auth-form").reset();
    this.#showOthers();
    this.#setMode(this.#mode);
  }

  #setMode(mode) {
    this.#mode = mode;
    byId("auth-login").setAttribute("aria-pressed", mode === "login");
    byId("auth-register").setAttribute("aria-pressed", mode === "register");
    byId("auth-title").textContent = MODES[mode].title;
    byId("auth-submit").textContent = mode === "login" ? "Log in" : "Register";
    byId("auth-password").autocomplete = MODES[mode].autocomplete;
    for (const node of byId("auth").querySelectorAll("[data-only]")) {
      node.hidden = node.dataset.only !== mode;
    }
    clearFaults(byId("auth-form"));
    byId("auth-username").focus();
  }

  async #submit({ username, password, display_name }) {
    const name = username.trim();
    const grant = this.#mode === "login"
      ? await logIn("", name, password)
      : await register("", name, password, named(display_name.trim()));
    const { user } = this.#accounts.keep(grant);
    byId("auth-form").reset();
    this.#enter(user.id);
  }

  #showOthers() {
    const others = this.#accounts.all();
    const box = byId("auth-others");
    box.hidden = others.length === 0;
    box.replaceChildren(
      h("p", { className: "quiet" }, "Or go on as"),
      ...others.map(({ user }) => this.#choice(user)),
    );
  }

  #choice(user) {
    const { id, username } = user;
    const data = { testid: "auth-continue", username };
    const onClick = () => this.#enter(id);
    return h("button", { type: "button", onClick, data }, avatar(username, "small"), username);
  }
}

function named(display_name) {
  return display_name ? { display_name } : {};
}
