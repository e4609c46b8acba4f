/* Times, names and sizes as people read them. */

import { h } from "./dom.js";

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const WHEN = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DAY_OF_YEAR = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });
const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const STEPS = [["day", 86_400], ["hour", 3_600], ["minute", 60]];
const LINK = /\bhttps?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]}]/g;
const HUES = 8;

export function clock(at) {
  return TIME.format(new Date(at));
}

/** The clock without AM or PM, where there is no room for it. */
export function clockShort(at) {
  const parts = TIME.formatToParts(new Date(at)).filter(({ type }) => type !== "dayPeriod");
  return parts.map(({ value }) => value).join("").trim();
}

/** A clock with seconds and milliseconds, for the event strip. */
export function clockMs(at) {
  const date = new Date(at);
  const two = (number) => String(number).padStart(2, "0");
  const ms = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${ms}`;
}

export function when(at) {
  return WHEN.format(new Date(at));
}

export function exact(at) {
  return EXACT.format(new Date(at));
}

export function dayKey(at) {
  return new Date(at).toDateString();
}

export function dayName(at) {
  const date = new Date(at);
  const days = Math.round((midnight(new Date()) - midnight(date)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return (days < 300 ? DAY : DAY_OF_YEAR).format(date);
}

export function ago(at) {
  const seconds = (Date.now() - new Date(at)) / 1000;
  const [unit, size] = STEPS.find(([, step]) => seconds >= step) ?? [];
  return unit ? RELATIVE.format(-Math.floor(seconds / size), unit) : "just now";
}

export function count(number, cap = 99) {
  return number > cap ? `${cap}+` : String(number);
}

export function plural(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

/** A round picture of a name: its first letter on one of a few colours, the same everywhere. */
export function avatar(name, className = "") {
  const hue = [...name].reduce((sum, char) => (sum * 31 + char.codePointAt(0)) >>> 0, 7) % HUES;
  const letter = [...name][0]?.toUpperCase() ?? "?";
  return h("span", { className: `avatar hue-${hue} ${className}`, aria: { hidden: true } }, letter);
}

/** What a user wrote, as text nodes, with web addresses made into links. */
export function prose(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    parts.push(text.slice(end, match.index), link(match[0]));
    end = match.index + match[0].length;
  }
  return [...parts, text.slice(end)];
}

function link(address) {
  return h("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, address);
}

function midnight(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate());
}
