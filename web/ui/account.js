/* Who I am, where I am signed in, and the ways out. */

import { byId, h, iconButton } from "./dom.js";
import { ago, avatar, exact, when } from "./format.js";
import { confirm, openDialog } from "./forms.js";
import { attempt } from "./toast.js";

export class AccountDialog {
  #now;
  #accounts;
  #go;

  /** `go` has `switchTo(userId)` and `another()`, which leaves this window to a new login. */
  constructor(now, accounts, go) {
    this.#now = now;
    this.#accounts = accounts;
    this.#go = go;
    byId("log-out").addEventListener("click", () => this.#logOut());
    byId("add-account").addEventListener("click", () => this.#leaveFor(() => go.another()));
  }

  open() {
    const { user, status } = this.#now().client;
    byId("account-avatar").replaceChildren(avatar(user.username, "large"));
    byId("account-name").textContent = user.display_name || user.username;
    byId("account-username").textContent = `@${user.username}${user.is_admin ? " · admin" : ""}`;
    byId("account-facts").replaceChildren(
      h("dt", {}, "User id"), h("dd", { className: "mono" }, user.id),
      h("dt", {}, "Node"), h("dd", { className: "mono" }, status.node ?? "not connected"),
    );
    this.#drawOthers(user);
    byId("sessions").replaceChildren();
    openDialog("account-dialog");
    attempt(() => this.#drawSessions());
  }

  async #drawSessions() {
    const { items } = await this.#now().client.rest.get("/auth/sessions", { limit: 50 });
    byId("sessions").replaceChildren(...items.map((session) => this.#session(session)));
  }

  #session(session) {
    const at = session.last_used_at ?? session.updated_at ?? session.created_at;
    const name = session.current ? "This session" : device(session.user_agent);
    const revoke = () => attempt(() => this.#revoke(session));
    const { id: sessionId, current } = session;
    return h("li", { data: { testid: "session-item", sessionId, current } },
      h("div", { className: "session-text" },
        h("strong", {}, name),
        h("span", { className: "quiet", title: exact(at) },
          `Since ${when(session.created_at)} · used ${ago(at)}`)),
      session.current
        ? h("span", { className: "role" }, "Current")
        : iconButton("close", `End the session ${name}`, revoke,
          { data: { testid: "session-revoke" } }));
  }

  async #revoke({ id }) {
    const detail = "It is signed out everywhere within a second.";
    if (!(await confirm("End this session?", detail, "End session"))) return;
    await this.#now().client.rest.delete(`/auth/sessions/${id}`);
    await this.#drawSessions();
  }

  #drawOthers(me) {
    const others = this.#accounts.all().filter(({ user }) => user.id !== me.id);
    byId("account-others").hidden = others.length === 0;
    byId("account-list").replaceChildren(...others.map(({ user }) => this.#other(user)));
  }

  #other(user) {
    const pick = () => this.#leaveFor(() => this.#go.switchTo(user.id));
    return h("li", { data: { testid: "account-item", username: user.username } },
      avatar(user.username, "small"),
      h("span", { className: "session-text" }, h("strong", {}, user.username)),
      h("button",
        { type: "button", className: "small", onClick: pick, data: { testid: "account-use" } },
        "Use here"));
  }

  #leaveFor(next) {
    byId("account-dialog").close();
    next();
  }

  #logOut() {
    const { client } = this.#now();
    byId("account-dialog").close();
    return client.logOut();
  }
}

function device(userAgent) {
  const known = ["Firefox", "Edg", "Chrome", "Safari", "curl", "python"];
  const found = known.find((name) => userAgent?.toLowerCase().includes(name.toLowerCase()));
  return found ? `${found === "Edg" ? "Edge" : found} session` : "Another session";
}
