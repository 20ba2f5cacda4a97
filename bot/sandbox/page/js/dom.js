// Building DOM from data without ever parsing markup.
//
// Every string that came from outside ends in a text node or in an attribute
// set here; nothing in this page assigns innerHTML. Links have one door
// (safeHref), so a javascript: address cannot become clickable anywhere.

const SVG_NS = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "selected", "tabIndex", "readOnly", "indeterminate", "htmlFor"]);

/** h makes an element: h("button", {class: "x", data: {ts}, onclick: f}, "Label", child). Null, false and undefined are left out. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  assign(element, props ?? {});
  add(element, children);
  return element;
}

/** svg makes an icon from path data or [tag, attributes] pairs, on a 20 by 20 grid. */
export function svg(shapes, { size = 20, box = "0 0 20 20", className = "icon" } = {}) {
  const element = document.createElementNS(SVG_NS, "svg");
  setAll(element, { viewBox: box, width: size, height: size, class: className, "aria-hidden": "true", focusable: "false" });
  for (const shape of shapes) {
    const [tag, attributes] = typeof shape === "string" ? ["path", { d: shape }] : shape;
    const child = document.createElementNS(SVG_NS, tag);
    const { text, ...rest } = attributes;
    setAll(child, rest);
    if (text !== undefined) child.textContent = text;
    element.append(child);
  }
  return element;
}

/** replace swaps all children of an element. */
export function replace(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

/** add appends strings as text nodes, nodes as they are, and arrays flattened. */
export function add(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/** safeHref returns the address when it may be followed from a message (http, https, mailto, slack), else null. */
export function safeHref(address) {
  try {
    const url = new URL(String(address).trim());
    return ["http:", "https:", "mailto:", "slack:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** link makes an anchor that opens elsewhere, or plain text when the address may not be followed. */
export function link(address, props, ...children) {
  const href = safeHref(address);
  if (!href) return h("span", { class: "inert-link", title: "This address can't be opened from here" }, children);
  return h("a", { href, target: "_blank", rel: "noopener noreferrer", title: href, ...props }, children);
}

/** safeImage returns a source that loads nothing from outside: same origin or an embedded raster image. */
export function safeImage(address) {
  if (/^data:image\/(png|jpeg|gif|webp);base64,/i.test(address ?? "")) return address;
  try {
    const url = new URL(address, location.href);
    return url.origin === location.origin ? url.href : null;
  } catch {
    return null;
  }
}

/**
 * spend uses a key up: neither the browser nor whatever gets the focus next acts on it again. Drivers
 * and some remote keyboards send the character apart from the key, so that one is taken too.
 */
export function spend(event) {
  event.preventDefault();
  const swallow = (press) => press.preventDefault();
  document.addEventListener("keypress", swallow, { capture: true, once: true });
  document.addEventListener("keyup", () => document.removeEventListener("keypress", swallow, true), { capture: true, once: true });
}

let lastId = 0;

/** freshId gives ids for aria references. */
export function freshId(prefix) {
  lastId += 1;
  return `${prefix}-${lastId}`;
}

/** isPhone says whether the page shows one pane at a time. */
export const isPhone = () => matchMedia("(max-width: 720px)").matches;

function assign(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "data") setData(element, value);
    else if (name === "style") Object.assign(element.style, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
}

function setData(element, data) {
  for (const [name, value] of Object.entries(data)) {
    if (value !== null && value !== undefined) element.dataset[name] = value;
  }
}

function setAll(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}
