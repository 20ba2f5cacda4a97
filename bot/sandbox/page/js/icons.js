// Interface icons and generated avatars. Strokes on a 20 by 20 grid.

import { h, svg } from "./dom.js";
import { displayName } from "./workspace.js";

const ICONS = {
  hash: ["M7.6 3L6 17M14 3l-1.6 14M3.4 7.4h14M2.8 12.6h14"],
  lock: ["M6.4 9V6.6a3.6 3.6 0 0 1 7.2 0V9", ["rect", { x: 4, y: 9, width: 12, height: 8, rx: 1.6 }]],
  menu: ["M3 5.4h14M3 10h14M3 14.6h14"],
  search: [["circle", { cx: 8.6, cy: 8.6, r: 5.2 }], "M12.6 12.6l4.4 4.4"],
  close: ["M5 5l10 10M15 5L5 15"],
  reply: ["M3.4 4h13.2v9.4H9.4L5.8 17v-3.6H3.4z", "M7 8.8h6"],
  more: [["circle", { cx: 10, cy: 4.6, r: 0.9, fill: "currentColor" }], ["circle", { cx: 10, cy: 10, r: 0.9, fill: "currentColor" }], ["circle", { cx: 10, cy: 15.4, r: 0.9, fill: "currentColor" }]],
  ellipsis: [["circle", { cx: 4.6, cy: 10, r: 0.9, fill: "currentColor" }], ["circle", { cx: 10, cy: 10, r: 0.9, fill: "currentColor" }], ["circle", { cx: 15.4, cy: 10, r: 0.9, fill: "currentColor" }]],
  send: [["path", { d: "M3 3.2l14.4 6.2a.7.7 0 0 1 0 1.2L3 16.8l1.6-5.6L11 10 4.6 8.8z", fill: "currentColor", stroke: "none" }]],
  down: ["M5.4 7.8L10 12.4l4.6-4.6"],
  right: ["M7.8 5.4l4.6 4.6-4.6 4.6"],
  arrowDown: ["M10 4v12M5 11l5 5 5-5"],
  eye: ["M2 10s3-5.6 8-5.6 8 5.6 8 5.6-3 5.6-8 5.6S2 10 2 10z", ["circle", { cx: 10, cy: 10, r: 2.4 }]],
  bolt: ["M11 2.6L4.6 11.4h4.6L8.4 17.4l7-9h-5z"],
  at: [["circle", { cx: 10, cy: 10, r: 3 }], "M13 7v4.2a2.1 2.1 0 0 0 4.2-.4A7.2 7.2 0 1 0 14 16"],
  smile: [["circle", { cx: 10, cy: 10, r: 7.4 }], "M6.8 11.8c1.6 2.2 4.8 2.2 6.4 0M7.4 7.8h.1M12.6 7.8h.1"],
  slash: [["rect", { x: 2.8, y: 2.8, width: 14.4, height: 14.4, rx: 3 }], "M12 6.4l-4 7.2"],
  bold: ["M6 4h4.6a3 3 0 0 1 0 6H6zM6 10h5.4a3 3 0 0 1 0 6H6z"],
  italic: ["M8.4 4h6M5.6 16h6M11.6 4L8.4 16"],
  strike: ["M3 10h14M13.8 6.4C13.2 4.8 11.8 4 10 4 7.8 4 6.2 5 6.2 6.8c0 .9.4 1.6 1 2.1M6 13.4c.5 1.7 2 2.6 4 2.6 2.3 0 4-1.1 4-3 0-.6-.1-1-.4-1.4"],
  code: ["M7 5.6L2.6 10 7 14.4M13 5.6L17.4 10 13 14.4"],
  clock: [["circle", { cx: 10, cy: 10, r: 7.4 }], "M10 5.8V10l2.8 1.8"],
  link: ["M8.4 11.6a3 3 0 0 0 4.4.2l2.8-2.8a3.1 3.1 0 0 0-4.4-4.4l-1 1M11.6 8.4a3 3 0 0 0-4.4-.2L4.4 11a3.1 3.1 0 0 0 4.4 4.4l1-1"],
  copy: [["rect", { x: 7, y: 7, width: 10, height: 10, rx: 1.6 }], "M13 4.6A1.6 1.6 0 0 0 11.4 3H4.6A1.6 1.6 0 0 0 3 4.6v6.8A1.6 1.6 0 0 0 4.6 13"],
  image: [["rect", { x: 2.6, y: 3.6, width: 14.8, height: 12.8, rx: 1.6 }], ["circle", { cx: 7, cy: 8, r: 1.3 }], "M3 14.6l4.4-3.6 3 2.4 3-3 4 4"],
  check: ["M4.4 10.6l3.8 3.8 7.4-8.6"],
  thread: ["M4 5h12M4 9h8M4 13h5", "M13 12.6h4.4v3.6h-2l-1.6 1.6v-1.6H13z"],
  home: ["M3 9.4L10 3l7 6.4M5 8.4V17h10V8.4"],
};

/** icon draws a named interface icon. */
export function icon(name, size = 18) {
  const drawn = svg(ICONS[name], { size });
  drawn.classList.add(`icon-${name}`);
  return drawn;
}

const PALETTE = ["5b5bd6", "c2408b", "0f7b6c", "b3541e", "2f6fb5", "7a4bb0", "3f7d3a", "a83c4a"];

/** colorOf returns a user's own colour, or a steady one made from the id. */
export function colorOf(user) {
  const own = String(user.color ?? "").replace("#", "");
  if (/^[0-9a-f]{6}$/i.test(own)) return `#${own}`;
  let sum = 0;
  for (const letter of user.id ?? "") sum = (sum * 31 + letter.codePointAt(0)) >>> 0;
  return `#${PALETTE[sum % PALETTE.length]}`;
}

/** initials of up to two words. */
export function initials(name) {
  const words = String(name).trim().split(/[\s._-]+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => [...word][0]).join("").toUpperCase() || "?";
}

/** avatar draws a user: initials on their colour, or a small robot for a bot. */
export function avatar(user, size = 36) {
  const shapes = user.is_bot ? robot(colorOf(user)) : portrait(user);
  return h("span", { class: "avatar", style: { width: `${size}px`, height: `${size}px` }, "aria-hidden": "true" }, svg(shapes, { size, box: "0 0 36 36", className: "avatar-art" }));
}

function portrait(user) {
  const text = initials(displayName(user));
  return [
    ["rect", { width: 36, height: 36, fill: colorOf(user) }],
    ["path", { d: "M0 36V24C10 30 26 14 36 18v18z", fill: "#000", opacity: 0.12 }],
    ["text", { x: 18, y: 23.4, "text-anchor": "middle", "font-size": text.length > 1 ? 15 : 17, "font-weight": 700, fill: "#fff", text }],
  ];
}

function robot(color) {
  return [
    ["rect", { width: 36, height: 36, fill: color }],
    ["path", { d: "M0 0h36v14C24 20 12 8 0 14z", fill: "#fff", opacity: 0.14 }],
    ["path", { d: "M18 7v4", stroke: "#fff", "stroke-width": 2, "stroke-linecap": "round" }],
    ["circle", { cx: 18, cy: 6.6, r: 1.8, fill: "#fff" }],
    ["rect", { x: 8, y: 11, width: 20, height: 15, rx: 4.5, fill: "#fff" }],
    ["circle", { cx: 14, cy: 17.6, r: 2, fill: color }],
    ["circle", { cx: 22, cy: 17.6, r: 2, fill: color }],
    ["path", { d: "M14.5 22.4h7", stroke: color, "stroke-width": 1.8, "stroke-linecap": "round" }],
    ["rect", { x: 12, y: 28, width: 12, height: 3, rx: 1.5, fill: "#fff", opacity: 0.85 }],
  ];
}
