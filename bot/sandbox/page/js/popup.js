// One floating list for everything that is chosen from: selects, people,
// channels, overflow menus, message shortcuts. Keyboard first: arrows, Home,
// End, Enter, Escape, Tab, and typing to filter.
//
// Options carry data-value and role "option" (or "menuitem"), so that a test
// or a screen reader can find them whatever they look like.

import { freshId, h, replace, spend } from "./dom.js";

let current = null;

/**
 * openList shows options under an anchor. options are {text, value, draw?, description?, icon?, group?, danger?};
 * choose(option) runs on every choice, and the list stays open when multiple is set.
 */
export function openList({ anchor, label, options, choose, chosen = () => false, multiple = false, menu = false, filter = options.length > 6, onclose = () => {} }) {
  close();
  const list = new FloatingList({ anchor, label, options, choose, chosen, multiple, menu, filter, onclose });
  current = list;
  list.open();
  return list;
}

/** close shuts the open list, if any. */
export function close() {
  current?.close();
}

class FloatingList {
  constructor(settings) {
    Object.assign(this, settings);
    this.active = Math.max(0, this.options.findIndex((option) => this.chosen(option)));
    this.shown = this.options;
    this.id = freshId("list");
    this.typed = "";
  }

  open() {
    this.list = h("div", { class: "popup-list", id: this.id, role: this.menu ? "menu" : "listbox", "aria-label": this.label, "aria-multiselectable": this.multiple ? "true" : undefined, tabIndex: this.filter ? -1 : 0 });
    this.search = this.filter ? this.searchBox() : null;
    this.element = h("div", { class: `popup${this.menu ? " popup-menu" : ""}`, onkeydown: (event) => this.key(event), onfocusout: (event) => this.left(event) }, this.search, this.list);
    // Inside a modal the rest of the page is inert, so the list opens within it.
    (this.anchor.closest("dialog") ?? document.body).append(this.element);
    this.anchor.setAttribute("aria-expanded", "true");
    this.draw();
    this.place();
    (this.search?.firstChild ?? this.list).focus({ preventScroll: true });
    this.outside = (event) => {
      if (!this.element.contains(event.target) && !this.anchor.contains(event.target)) this.close(false);
    };
    this.moved = (event) => {
      if (!this.element.contains(event.target)) this.place();
    };
    document.addEventListener("pointerdown", this.outside, true);
    document.addEventListener("scroll", this.moved, true);
    addEventListener("resize", this.moved);
  }

  searchBox() {
    const input = h("input", { type: "text", class: "popup-search", placeholder: "Find an option", role: "combobox", "aria-label": `Filter: ${this.label}`, "aria-expanded": "true", "aria-controls": this.id, "aria-autocomplete": "list", autocomplete: "off", spellcheck: "false" });
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      this.shown = this.options.filter((option) => `${option.text} ${option.description ?? ""}`.toLowerCase().includes(wanted));
      this.active = 0;
      this.draw();
      this.place();
    });
    return h("div", { class: "popup-search-row" }, input);
  }

  draw() {
    let group;
    const rows = [];
    this.shown.forEach((option, index) => {
      if (option.group && option.group !== group) rows.push(h("div", { class: "popup-group", role: "presentation" }, option.group));
      group = option.group;
      rows.push(this.optionRow(option, index));
    });
    replace(this.list, rows.length ? rows : h("div", { class: "popup-empty" }, "Nothing matches"));
    this.point(this.active);
  }

  optionRow(option, index) {
    const selected = this.chosen(option);
    return h(
      "div",
      {
        class: `popup-option${option.danger ? " is-danger" : ""}`,
        id: `${this.id}-${index}`,
        role: this.menu ? "menuitem" : "option",
        "aria-selected": this.menu ? undefined : String(selected),
        data: { value: option.value ?? "", index: String(index) },
        onpointermove: () => this.active !== index && this.point(index),
        onclick: () => this.pick(index),
      },
      option.icon ? h("span", { class: "popup-option-icon" }, option.icon) : null,
      h("span", { class: "popup-option-text" }, option.draw?.() ?? option.text, option.description ? h("span", { class: "popup-option-description" }, option.description) : null),
      this.menu ? null : h("span", { class: "popup-option-check", "aria-hidden": "true" }),
    );
  }

  point(index) {
    this.active = Math.max(0, Math.min(index, this.shown.length - 1));
    for (const row of this.list.querySelectorAll(".popup-option")) row.classList.toggle("is-active", row.dataset.index === String(this.active));
    const row = this.list.querySelector(".is-active");
    row?.scrollIntoView({ block: "nearest" });
    const holder = this.search?.firstChild ?? this.list;
    if (row) holder.setAttribute("aria-activedescendant", row.id);
    else holder.removeAttribute("aria-activedescendant");
  }

  pick(index) {
    const option = this.shown[index];
    if (!option) return;
    if (!this.multiple) this.close();
    this.choose(option);
    if (this.multiple) {
      this.draw();
      this.place();
    }
  }

  key(event) {
    const moves = { ArrowDown: this.active + 1, ArrowUp: this.active - 1, Home: this.search ? undefined : 0, End: this.search ? undefined : this.shown.length - 1, PageDown: this.active + 8, PageUp: this.active - 8 };
    if (moves[event.key] !== undefined) {
      spend(event);
      this.point(moves[event.key]);
    } else if (event.key === "Enter" || (event.key === " " && !this.search)) {
      spend(event);
      this.pick(this.active);
    } else if (event.key === "Escape") {
      // The key is spent here: it must not also close the modal or thread behind.
      spend(event);
      event.stopPropagation();
      this.close();
    } else if (event.key === "Tab") {
      spend(event);
      this.close();
    } else if (!this.search && event.key.length === 1 && !event.ctrlKey && !event.metaKey) {
      this.typeAhead(event.key.toLowerCase());
    }
  }

  typeAhead(letter) {
    clearTimeout(this.forget);
    this.forget = setTimeout(() => (this.typed = ""), 700);
    this.typed += letter;
    const found = this.shown.findIndex((option) => option.text.toLowerCase().startsWith(this.typed));
    if (found >= 0) this.point(found);
  }

  left(event) {
    if (event.relatedTarget && !this.element.contains(event.relatedTarget) && event.relatedTarget !== this.anchor) this.close(false);
  }

  place() {
    const anchor = this.anchor.getBoundingClientRect();
    const width = Math.min(Math.max(anchor.width, 220), innerWidth - 16);
    this.element.style.minWidth = `${width}px`;
    this.element.style.maxWidth = `${Math.min(380, innerWidth - 16)}px`;
    const box = this.element.getBoundingClientRect();
    const below = innerHeight - anchor.bottom - 12;
    const above = anchor.top - 12;
    const down = below >= Math.min(box.height, 260) || below >= above;
    this.list.style.maxHeight = `${Math.max(120, Math.min(320, (down ? below : above) - (this.search ? 48 : 0)))}px`;
    const height = this.element.getBoundingClientRect().height;
    const left = this.menu ? anchor.right - box.width : anchor.left;
    this.element.style.left = `${Math.max(8, Math.min(left, innerWidth - box.width - 8))}px`;
    this.element.style.top = `${down ? anchor.bottom + 4 : Math.max(8, anchor.top - height - 4)}px`;
  }

  close(refocus = true) {
    if (current !== this) return;
    current = null;
    document.removeEventListener("pointerdown", this.outside, true);
    document.removeEventListener("scroll", this.moved, true);
    removeEventListener("resize", this.moved);
    this.anchor.setAttribute("aria-expanded", "false");
    if (refocus && this.anchor.isConnected) this.anchor.focus({ preventScroll: true });
    this.element.remove();
    this.onclose();
  }
}

/** closeWithin shuts the list if its anchor is inside an element that is about to be redrawn. */
export function closeWithin(element) {
  if (current && element.contains(current.anchor)) current.close(false);
}
