/* Short notices that come and go; read out by screen readers through the region they are in. */

import { byId, h } from "./dom.js";

const STAY_MS = 6_000;

export function toast(text, kind = "info") {
  const node = h("p", { className: `toast ${kind}`, data: { testid: "toast" } }, text);
  const region = byId("toasts");
  region.append(node);
  raise(region);
  while (region.children.length > 3) region.firstElementChild.remove();
  setTimeout(() => node.remove(), STAY_MS);
}

function raise(region) {
  // Above an open dialog too, which only what is shown later can be.
  if (!region.showPopover) return;
  if (region.matches(":popover-open")) region.hidePopover();
  region.showPopover();
}

/** Run what a click asked for; a failure becomes a notice and is not lost. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    toast(error.message, "bad");
    return undefined;
  }
}
