// Short notices in the corner: what the workspace has to say, and news from
// conversations that are not on screen.

import { add, h } from "./dom.js";
import { icon } from "./icons.js";

const region = () => document.getElementById("toasts");

/** toast shows a notice. level is info, success, warning or error; action is {label, run}. */
export function toast(level, text, { title, picture, action } = {}) {
  const element = h(
    "div",
    { class: `toast toast-${level}`, data: { toast: level } },
    picture ?? null,
    h("div", { class: "toast-words" }, title ? h("strong", null, title) : null, h("span", null, text)),
    action ? h("button", { class: "button button-small", type: "button", onclick: () => (element.remove(), action.run()) }, action.label) : null,
    h("button", { class: "icon-button small", type: "button", "aria-label": "Dismiss", onclick: () => element.remove() }, icon("close", 14)),
  );
  const holder = region();
  while (holder.children.length >= 4) holder.firstChild.remove();
  add(holder, element);
  raise(holder);
  expire(element, level === "error" || action ? 10000 : 5000);
}

/** clear takes all notices away: they were for somebody else. */
export const clear = () => region().replaceChildren();

// A dialog opened since lies above; opening the popover again brings the notices to the top.
function raise(holder) {
  if (!holder.showPopover) return;
  if (holder.matches(":popover-open")) holder.hidePopover();
  holder.showPopover();
}

function expire(element, after) {
  let timer = setTimeout(() => element.remove(), after);
  element.addEventListener("pointerenter", () => clearTimeout(timer));
  element.addEventListener("pointerleave", () => (timer = setTimeout(() => element.remove(), 3000)));
}
