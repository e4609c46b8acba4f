/* Forms and dialogs: one way to submit, to show a fault beside its field, and to close. */

import { byId, h } from "./dom.js";

/** Submit `form` by `work(values)`; while it runs the form is busy, and its faults are shown. */
export function onSubmit(form, work) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    clearFaults(form);
    setBusy(form, true);
    try {
      await work(Object.fromEntries(new FormData(form)));
    } catch (error) {
      showFaults(form, error);
    } finally {
      setBusy(form, false);
    }
  });
}

export function clearFaults(form) {
  for (const node of form.querySelectorAll(".fault")) node.textContent = "";
  for (const node of form.querySelectorAll("[aria-invalid]")) node.removeAttribute("aria-invalid");
}

function setBusy(form, busy) {
  form.setAttribute("aria-busy", busy);
  for (const button of form.querySelectorAll("button[type=submit]")) button.disabled = busy;
}

function showFaults(form, error) {
  const fields = error.fields ?? [];
  const elsewhere = fields.filter((fault) => !showField(form, fault));
  const general = form.querySelector(".fault.general");
  if (general && elsewhere.length) general.textContent = elsewhere.map(sentence).join(" ");
  else if (general && !fields.length) general.textContent = error.message;
  form.querySelector("[aria-invalid]")?.focus();
}

function sentence({ field, message }) {
  return `${field}: ${message}.`;
}

function showField(form, { field, message }) {
  const input = form.elements.namedItem(String(field).split(".").pop());
  const fault = input?.closest?.(".field")?.querySelector(".fault");
  if (!fault) return false;
  input.setAttribute("aria-invalid", "true");
  fault.textContent = message;
  return true;
}

/** Open a dialog; the browser gives the focus back to what had it when the dialog closes. */
export function openDialog(id) {
  const dialog = byId(id);
  if (!dialog.open) dialog.showModal();
  return dialog;
}

/** Let every dialog close by its buttons and by a click beside it (Escape is the browser's). */
export function wireDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => {
      const closes = event.target.closest("[data-close]") || event.target === dialog;
      if (closes) dialog.close("cancel");
    });
  }
}

/** Ask before what can't be undone; promises true or false. */
export function confirm(question, detail, action) {
  const dialog = byId("confirm-dialog");
  byId("confirm-question").textContent = question;
  byId("confirm-detail").replaceChildren(h("span", {}, detail));
  byId("confirm-action").textContent = action;
  dialog.returnValue = "";
  openDialog("confirm-dialog");
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
