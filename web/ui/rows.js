/* What one row of the message list looks like: a day, a message, one on its way, an editor.
 *
 * A row is drawn anew only when something that it shows has changed. What users wrote goes
 * in as text. */

import { h, iconButton } from "./dom.js";
import { avatar, clock, clockShort, exact, prose } from "./format.js";

const MAX_ROWS = 8;

export function drawDay(node, name) {
  if (node.dataset.drawn === name) return;
  reset(node, "divider", name);
  node.append(h("span", {}, name));
}

export function drawNew(node) {
  if (node.dataset.drawn) return;
  reset(node, "divider new", "new");
  node.dataset.testid = "new-divider";
  node.append(h("span", {}, "New"));
}

export function drawMessage(node, message, facts, on) {
  const { grouped, parent, editing, ...rights } = facts;
  const known = [message.id, message.version, grouped, parent?.version, editing, rights];
  const drawn = JSON.stringify(known);
  // The editor stays as it is while the message changes under it.
  const keepsEditor = editing && node.dataset.editing === message.id;
  if (node.dataset.drawn === drawn || keepsEditor) return;
  const focused = document.activeElement === node;
  reset(node, rowClass(message, grouped), drawn);
  describe(node, message);
  node.append(gutter(message, grouped), content(message, facts, on));
  if (editing) node.dataset.editing = message.id;
  else if (!message.deleted_at) node.append(actions(rights, on));
  if (focused) node.focus();
}

export function drawPending(node, entry, user, on) {
  const drawn = JSON.stringify([entry.key, entry.state, entry.detail]);
  if (node.dataset.drawn === drawn) return;
  reset(node, `message pending ${entry.state}`, drawn);
  Object.assign(node.dataset, { testid: "message", state: entry.state });
  const data = { testid: "message-body" };
  const body = h("div", { className: "body", dir: "auto", data }, prose(entry.data.body));
  const head = h("div", { className: "head" }, h("strong", {}, user.username), pendingState(entry));
  node.append(avatar(user.username), h("div", { className: "content" }, head, body));
  if (entry.state === "failed") node.append(pendingActions(on));
}

function reset(node, className, drawn) {
  for (const name of Object.keys(node.dataset)) if (name !== "key") delete node.dataset[name];
  node.className = className;
  node.dataset.drawn = drawn;
  node.removeAttribute("aria-label");
  node.replaceChildren();
}

function rowClass(message, grouped) {
  return `message${grouped ? " grouped" : ""}${message.deleted_at ? " deleted" : ""}`;
}

function describe(node, message) {
  const { id, offset, author_username } = message;
  Object.assign(node.dataset, { testid: "message", messageId: id, offset });
  node.dataset.state = message.deleted_at ? "deleted" : "sent";
  node.dataset.author = author_username;
  const text = message.deleted_at ? "deleted" : message.body;
  node.setAttribute("aria-label", `${author_username}, ${clock(message.created_at)}: ${text}`);
}

function gutter(message, grouped) {
  if (!grouped) return avatar(message.author_username);
  return h("span", { className: "gutter-time", aria: { hidden: true } },
    clockShort(message.created_at));
}

function content(message, facts, on) {
  return h(
    "div",
    { className: "content" },
    facts.grouped ? null : head(message),
    message.reply_to ? quote(facts.parent) : null,
    facts.editing ? editor(message, on) : body(message),
  );
}

function head(message) {
  const { author_username, created_at } = message;
  const title = `${exact(created_at)} · offset ${message.offset}`;
  return h(
    "div",
    { className: "head" },
    h("strong", { data: { testid: "message-author" } }, author_username),
    h("time", { dateTime: created_at, title, data: { testid: "message-time" } }, clock(created_at)),
  );
}

function body(message) {
  if (message.deleted_at) {
    return h("div", { className: "body", data: { testid: "message-body" } }, "Message deleted");
  }
  const text = h("span", { data: { testid: "message-body" } }, prose(message.body));
  const edited = message.edited_at ? editedMark(message.edited_at) : null;
  return h("div", { className: "body", dir: "auto" }, text, edited, attached(message.data));
}

function editedMark(at) {
  const data = { testid: "message-edited" };
  return h("span", { className: "edited", title: exact(at), data }, "edited");
}

function attached(data) {
  if (data === null || data === undefined) return null;
  return h("details", { className: "attached" },
    h("summary", {}, "data"),
    h("pre", {}, JSON.stringify(data, null, 2)));
}

function quote(parent) {
  const text = parent?.deleted_at ? "Message deleted" : parent?.body ?? "an earlier message";
  return h("div", { className: "quote" },
    parent ? h("strong", {}, parent.author_username) : null, ` ${text.slice(0, 140)}`);
}

function actions({ canEdit, canDelete, canReply }, on) {
  const act = (name, label, action, handle) =>
    iconButton(name, label, handle, { data: { action, testid: `message-${action}` } });
  return h(
    "div",
    { className: "actions" },
    canReply ? act("reply", "Reply", "reply", on.reply) : null,
    canEdit ? act("edit", "Edit", "edit", on.edit) : null,
    canDelete ? act("trash", "Delete", "delete", on.remove) : null,
  );
}

function editor(message, on) {
  const testid = "message-edit-input";
  const rows = Math.min(MAX_ROWS, message.body.split("\n").length);
  const input = h("textarea", { value: message.body, rows, dir: "auto", data: { testid } });
  input.setAttribute("aria-label", "Edit the message");
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") on.cancel();
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) on.save(input.value);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const save = { type: "button", className: "primary small", onClick: () => on.save(input.value) };
  const cancel = { type: "button", className: "ghost small", onClick: on.cancel };
  return h("div", { className: "editor" }, input,
    h("div", { className: "row tight" },
      h("button", { ...save, data: { testid: "message-edit-save" } }, "Save"),
      h("button", { ...cancel, data: { testid: "message-edit-cancel" } }, "Cancel"),
      h("span", { className: "quiet keys" }, "Enter saves · Escape cancels")));
}

function pendingState(entry) {
  const text = entry.state === "failed" ? `Not sent: ${entry.detail}` : "Sending …";
  return h("span", { className: "state", data: { testid: "message-state" } }, text);
}

function pendingActions(on) {
  return h("div", { className: "actions shown" },
    iconButton("undo", "Try again", on.retry, { data: { testid: "message-retry" } }),
    iconButton("trash", "Discard", on.drop, { data: { testid: "message-discard" } }));
}
