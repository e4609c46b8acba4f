/* The page's composition: who is signed in decides what is built; the rest is wiring.
 *
 * Dialogs and forms are wired once; the client, the store and the views are made anew for
 * each user and thrown away when the user leaves. The open channel is in the address. */

import { Accounts } from "./accounts.js";
import { titleOf } from "./channel.js";
import { Doors } from "./doors.js";
import { Member } from "./member.js";
import { Store } from "./store.js";
import { sleep } from "./timing.js";
import { AccountDialog } from "./ui/account.js";
import { AuthView } from "./ui/auth.js";
import { Badge } from "./ui/badge.js";
import { Conversation } from "./ui/conversation.js";
import { ChannelDialogs } from "./ui/dialogs.js";
import { byId, perFrame } from "./ui/dom.js";
import { wireDialogs } from "./ui/forms.js";
import { InboxView } from "./ui/inbox.js";
import { Frame } from "./ui/panel.js";
import { People, wireMemberForm } from "./ui/people.js";
import { Sidebar } from "./ui/sidebar.js";
import { Strip } from "./ui/strip.js";
import { attempt, toast } from "./ui/toast.js";

const FIRST_LIVE_MS = 3_000;
const PROFILE_KEYS = ["id", "username", "display_name", "is_admin"];

const accounts = new Accounts();
const doors = new Doors();
const frame = new Frame();
const auth = new AuthView(accounts, enter);
const dialogs = new ChannelDialogs(() => session, goTo);
const accountDialog = new AccountDialog(() => session, accounts, { switchTo: enter, another });
let session = null;

/** Sign this window in as a user whose tokens are stored. */
function enter(userId) {
  accounts.use(userId);
  begin();
}

/** Leave the door open for somebody else, in this window only. */
function another() {
  end();
  accounts.useNone();
  leaveAddress();
  showAuth();
}

function begin() {
  end();
  const kept = accounts.find();
  if (!kept) return showAuth();
  accounts.stay(kept.user.id);
  const client = new Member(accounts, kept.user, doors);
  const store = new Store(client);
  session = { client, store };
  buildViews(session);
  show("shell");
  client.reconnect();
  load(session);
}

function buildViews(built) {
  const { client, store } = built;
  Object.assign(built, {
    sidebar: new Sidebar(store, goTo),
    conversation: new Conversation(client, store),
    people: new People(client, store),
    inbox: new InboxView(client, store),
    strip: new Strip(client, (stream) => nameOf(store, stream)),
    badge: new Badge(client, doors),
  });
  store.on("channels", perFrame(showTitle));
  store.on("open", () => showOpen(store));
  store.on("notice", (text) => toast(text));
  client.on("bye", ({ detail, retry }) => retry === "never" && detail && toast(detail, "bad"));
}

/** Read the lists once the events are flowing, so that nothing falls between the two. */
async function load({ client }) {
  let loaded = false;
  client.on("live", async () => {
    if (loaded) return;
    loaded = true;
    loaded = Boolean(await attempt(() => readLists()));
  });
  // Before a door has opened there may be something to read all the same.
  await sleep(FIRST_LIVE_MS);
  if (!loaded && isCurrent(client)) attempt(() => readLists());
}

async function readLists() {
  const { client, store } = session;
  await store.load();
  await openFromAddress();
  await refreshProfile(client);
  return true;
}

async function refreshProfile(client) {
  const me = await client.rest.get("/me");
  if (PROFILE_KEYS.some((key) => me[key] !== client.user[key])) Object.assign(client.user, me);
}

function end() {
  session?.client.stop();
  session = null;
}

function isCurrent(client) {
  return session?.client === client;
}

function showAuth(notice) {
  document.title = "Fanfare";
  show("auth");
  auth.show(notice);
}

function show(view) {
  document.body.dataset.view = view;
  byId("auth").hidden = view !== "auth";
  byId("shell").hidden = view !== "shell";
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

function showTitle() {
  const unread = session?.store.unread ?? 0;
  const open = session?.store.open;
  const where = open ? `${titleOf(open, session.client.user.username)} · ` : "";
  document.title = `${unread ? `(${unread}) ` : ""}${where}Fanfare`;
}

function goTo({ id, info, slug }) {
  const address = `#/c/${encodeURIComponent(info?.slug ?? slug ?? id)}`;
  frame.closeSidebar();
  if (location.hash === address) attempt(() => openFromAddress());
  else location.hash = address;
}

async function openFromAddress() {
  if (!session) return;
  const { store, conversation } = session;
  const ref = decodeURIComponent(/^#\/c\/(.+)$/.exec(location.hash)?.[1] ?? "");
  if (!ref) return store.closeChannel();
  try {
    await store.openChannel(ref);
    conversation.focus();
  } catch (error) {
    if (error.code !== "not_found") throw error;
    toast("There is no such channel, or it is not open to you.", "bad");
    location.hash = "";
  }
}

function showOpen(store) {
  if (!store.open && location.hash.startsWith("#/c/")) leaveAddress();
  showTitle();
}

/** The address without a channel; what it says of doors stays. */
function leaveAddress() {
  history.replaceState(null, "", `/${location.search}`);
}

function nameOf(store, stream) {
  const [noun, id] = stream.split(":");
  if (noun === "user") return id === store.user.id ? "me" : stream;
  const channel = store.channels.get(id);
  return channel ? `#${channel.info.slug ?? titleOf(channel, store.user.username)}` : stream;
}

function onKey(event) {
  if (!session || document.querySelector("dialog[open]")) return;
  const command = event.ctrlKey || event.metaKey;
  if (event.key === "Escape") frame.closeDrawers() || session.conversation.focus();
  else if (event.altKey && event.key === "ArrowDown") step(1);
  else if (event.altKey && event.key === "ArrowUp") step(-1);
  else if (command && event.key.toLowerCase() === "k") dialogs.browse();
  else return;
  event.preventDefault();
}

function step(by) {
  const next = session.sidebar.neighbour(by);
  if (next) goTo(next);
}

function leaveDropped(userId) {
  if (session?.client.user.id !== userId) return;
  end();
  showAuth("You are logged out.");
}

function wire() {
  wireDialogs();
  wireMemberForm(() => session.people);
  const clicks = {
    create: () => dialogs.create(),
    "welcome-create": () => dialogs.create(),
    browse: () => dialogs.browse(),
    "welcome-browse": () => dialogs.browse(),
    "channel-settings": () => dialogs.settings(),
    account: () => accountDialog.open(),
    skip: () => session?.conversation.focus(),
  };
  for (const [id, handle] of Object.entries(clicks)) byId(id).addEventListener("click", handle);
  document.addEventListener("keydown", onKey);
  document.addEventListener("visibilitychange", () => session?.conversation.visibilityChanged());
  window.addEventListener("hashchange", () => attempt(() => openFromAddress()));
  accounts.on("dropped", leaveDropped);
}

wire();
begin();
