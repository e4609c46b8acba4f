/* Building and keeping elements. Text goes in as text nodes only; nothing here parses markup. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element. Properties are set as such, `on…` as listeners, `data` as data attributes,
 * `aria` as aria attributes, `attrs` as attributes; strings among the children become text.
 */
export function h(tag, { data, aria, attrs, ...props } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2).toLowerCase(), value);
    else if (value !== undefined) node[name] = value;
  }
  setAll(node, "data-", data, (name) => name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`));
  setAll(node, "aria-", aria);
  setAll(node, "", attrs);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

function setAll(node, prefix, values = {}, rename = (name) => name) {
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined) node.setAttribute(prefix + rename(name), value);
  }
}

/** An icon of the page's own sprite, hidden from readers: its button has the label. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function iconButton(name, label, onClick, props = {}) {
  const { className = "", ...rest } = props;
  const button = h("button", { type: "button", title: label, ...rest, onClick }, icon(name));
  button.className = `icon-button ${className}`;
  button.setAttribute("aria-label", label);
  return button;
}

/**
 * Make the children of `parent` match `items`, keeping the element of each key, so that focus,
 * selection and half-written edits survive a redraw.
 */
export function reconcile(parent, items, { key, make, update }) {
  const wanted = new Set(items.map(key));
  const kept = new Map();
  for (const node of [...parent.children]) {
    const { key: known } = node.dataset;
    if (wanted.has(known) && !kept.has(known)) kept.set(known, node);
    else node.remove();
  }
  let cursor = parent.firstElementChild;
  for (const item of items) {
    const node = kept.get(key(item)) ?? make(item);
    node.dataset.key = key(item);
    update(node, item);
    if (node === cursor) cursor = cursor.nextElementSibling;
    else parent.insertBefore(node, cursor);
  }
}

/** Redraw at most once a frame, however often it is asked for; also while the page is hidden. */
export function perFrame(draw) {
  let asked = false;
  const run = () => {
    asked = false;
    draw();
  };
  return () => {
    if (asked) return;
    asked = true;
    if (document.hidden) setTimeout(run, 250);
    else requestAnimationFrame(run);
  };
}

export function byId(id) {
  return document.getElementById(id);
}
