/* The frame: the side panel with its three tabs, and drawers where the screen is narrow.
 *
 * Beside the conversation where there is room, over it where there is not. A drawer takes
 * the focus, Escape closes it, and what lies under it can't be reached meanwhile. */

import { byId } from "./dom.js";

const TABS = ["people", "events", "inbox"];
const CHOICE = "fanfare.panel";
const PANEL_FITS = window.matchMedia("(min-width: 1080px)");
const SIDEBAR_FITS = window.matchMedia("(min-width: 720px)");

export class Frame {
  #shell = byId("shell");
  #opener = null;

  constructor() {
    this.#wireTabs();
    byId("sidebar-open").addEventListener("click", () => this.openSidebar());
    byId("sidebar-close").addEventListener("click", () => this.closeSidebar());
    byId("scrim").addEventListener("click", () => this.closeDrawers());
    byId("panel-close").addEventListener("click", () => this.closePanel());
    PANEL_FITS.addEventListener("change", () => this.#refit());
    SIDEBAR_FITS.addEventListener("change", () => this.#settle());
    const chosen = localStorage.getItem(CHOICE) ?? "events";
    this.#select(TABS.includes(chosen) ? chosen : "events");
    byId("panel").hidden = !PANEL_FITS.matches || chosen === "none";
    this.#settle();
  }

  get #panelOver() {
    return !byId("panel").hidden && !PANEL_FITS.matches;
  }

  get #sidebarOver() {
    return this.#shell.classList.contains("sidebar-open");
  }

  openSidebar() {
    this.#opener = document.activeElement;
    this.#shell.classList.add("sidebar-open");
    this.#settle();
    const current = byId("sidebar").querySelector("[aria-current], .channel");
    (current ?? byId("sidebar-close")).focus();
  }

  closeSidebar() {
    if (!this.#sidebarOver) return;
    this.#shell.classList.remove("sidebar-open");
    this.#giveBack();
  }

  openPanel(tab) {
    if (byId("panel").hidden) this.#opener = document.activeElement;
    this.#select(tab);
    byId("panel").hidden = false;
    localStorage.setItem(CHOICE, tab);
    this.#settle();
    byId(`tab-${tab}`).focus();
  }

  closePanel() {
    if (byId("panel").hidden) return;
    byId("panel").hidden = true;
    if (PANEL_FITS.matches) localStorage.setItem(CHOICE, "none");
    this.#giveBack();
  }

  /** Close what lies over the conversation; true when there was something. */
  closeDrawers() {
    const over = this.#panelOver || this.#sidebarOver;
    if (this.#panelOver) this.closePanel();
    this.closeSidebar();
    return over;
  }

  #giveBack() {
    this.#settle();
    if (this.#opener?.isConnected) this.#opener.focus();
  }

  #refit() {
    // What stood beside the conversation must not fall over it when the window shrinks.
    byId("panel").hidden = !PANEL_FITS.matches || localStorage.getItem(CHOICE) === "none";
    this.#settle();
  }

  #settle() {
    if (SIDEBAR_FITS.matches) this.#shell.classList.remove("sidebar-open");
    const over = this.#panelOver || this.#sidebarOver;
    byId("scrim").hidden = !over;
    byId("main").inert = over;
    byId("sidebar").inert = this.#panelOver || (!SIDEBAR_FITS.matches && !this.#sidebarOver);
    byId("sidebar-open").setAttribute("aria-expanded", this.#sidebarOver);
    this.#drawButtons();
  }

  #wireTabs() {
    for (const tab of TABS) {
      byId(`tab-${tab}`).addEventListener("click", () => this.openPanel(tab));
      byId(`tab-${tab}`).addEventListener("keydown", (event) => this.#walk(event, tab));
      document.querySelector(`[data-panel=${tab}]`).addEventListener("click", () => {
        const shown = !byId("panel").hidden && this.#tab === tab;
        if (shown) this.closePanel();
        else this.openPanel(tab);
      });
    }
  }

  #walk(event, tab) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    this.openPanel(TABS[(TABS.indexOf(tab) + step + TABS.length) % TABS.length]);
    event.preventDefault();
  }

  #tab = "events";

  #select(tab) {
    this.#tab = tab;
    for (const name of TABS) {
      const on = name === tab;
      byId(`panel-${name}`).hidden = !on;
      byId(`tab-${name}`).setAttribute("aria-selected", on);
      byId(`tab-${name}`).tabIndex = on ? 0 : -1;
    }
  }

  #drawButtons() {
    for (const tab of TABS) {
      const shown = !byId("panel").hidden && this.#tab === tab;
      document.querySelector(`[data-panel=${tab}]`).setAttribute("aria-pressed", shown);
    }
  }
}
