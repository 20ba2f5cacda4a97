// Ctrl/Cmd+K: jump to a channel, a person or an app by typing part of its name.

import { freshId, h, replace, spend } from "./dom.js";
import { avatar, icon } from "./icons.js";
import { displayName } from "./workspace.js";

/** openSwitcher shows the quick switcher. */
export function openSwitcher(app) {
  if (document.querySelector("dialog.switcher")) return;
  const places = destinations(app);
  const listId = freshId("places");
  let shown = places;
  let active = 0;

  const input = h("input", { class: "switcher-input", type: "text", placeholder: "Where to?", role: "combobox", "aria-label": "Jump to a channel, person or app", "aria-expanded": "true", "aria-controls": listId, "aria-autocomplete": "list", autocomplete: "off", spellcheck: "false", oninput: filter, onkeydown: key });
  const list = h("div", { class: "switcher-list", id: listId, role: "listbox", "aria-label": "Places" });
  const dialog = h("dialog", { class: "dialog switcher", "aria-label": "Jump to", onclick: (event) => event.target === dialog && close(), oncancel: (event) => (event.preventDefault(), close()) }, h("div", { class: "switcher-head" }, icon("search"), input), list, h("div", { class: "switcher-foot" }, h("kbd", null, "↑"), h("kbd", null, "↓"), " to choose, ", h("kbd", null, "Enter"), " to go, ", h("kbd", null, "Esc"), " to stay"));

  function close() {
    dialog.close();
    dialog.remove();
  }

  function go(place) {
    if (!place) return;
    close();
    place.go();
  }

  function filter() {
    const wanted = input.value.trim().replace(/^[#@]/, "").toLowerCase();
    shown = places.filter((place) => place.text.toLowerCase().includes(wanted)).sort((a, b) => a.text.toLowerCase().indexOf(wanted) - b.text.toLowerCase().indexOf(wanted));
    active = 0;
    draw();
  }

  function key(event) {
    if (event.key === "Enter") {
      spend(event);
      go(shown[active]);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      spend(event);
      active = (active + (event.key === "ArrowDown" ? 1 : -1) + shown.length) % Math.max(1, shown.length);
      draw();
    }
  }

  function draw() {
    const row = (place, index) => h("div", { class: "switcher-row", id: `${listId}-${index}`, role: "option", "aria-selected": String(index === active), data: { place: place.id }, onclick: () => go(place) }, h("span", { class: "row-picture" }, place.picture), h("span", { class: "row-text" }, place.text), h("span", { class: "row-note" }, place.note), place.unread ? h("span", { class: "row-badge" }, String(place.unread)) : null);
    replace(list, shown.length ? shown.map(row) : h("div", { class: "popup-empty" }, "Nothing by that name"));
    list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", `${listId}-${active}`);
  }

  document.body.append(dialog);
  draw();
  dialog.showModal();
  input.focus();
}

function destinations(app) {
  const { workspace } = app;
  const channels = [...workspace.channels.values()].filter((channel) => !channel.is_im).map((channel) => ({ id: channel.id, text: channel.name, note: "Channel", unread: channel.unread, picture: icon(channel.is_private ? "lock" : "hash", 16), go: () => app.go({ target: channel.id }) }));
  const people = [...workspace.users.values()].filter((user) => !user.is_bot).map((user) => ({ id: user.id, text: displayName(user), note: "Direct message", unread: workspace.channels.get(workspace.dmWith(user.id))?.unread, picture: avatar(user, 20), go: () => app.openDm(user.id) }));
  const apps = [...workspace.apps.values()].map((each) => ({ id: each.id, text: each.name, note: "App", picture: avatar({ ...workspace.user(each.bot_user_id), is_bot: true }, 20), go: () => app.go({ target: each.id }) }));
  // What waits to be read comes first.
  return [...channels, ...people, ...apps].sort((a, b) => Number(Boolean(b.unread)) - Number(Boolean(a.unread)));
}
