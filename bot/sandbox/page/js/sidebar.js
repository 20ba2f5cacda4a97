// The left side: whose eyes we look through, channels, people, apps.

import { h, replace } from "./dom.js";
import { avatar, icon } from "./icons.js";
import { displayName } from "./workspace.js";

export class Sidebar {
  constructor(app, element) {
    this.app = app;
    this.element = element;
    element.addEventListener("keydown", (event) => this.key(event));
  }

  draw() {
    const { workspace, route } = this.app;
    const focus = this.element.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    const people = [...workspace.users.values()].filter((user) => !user.is_bot);
    const channels = [...workspace.channels.values()].filter((channel) => !channel.is_im).sort((a, b) => a.name.localeCompare(b.name));
    replace(
      this.element,
      h("div", { class: "workspace-head" }, h("span", { class: "workspace-mark", "aria-hidden": "true" }, workspace.team.icon_text || "S"), h("span", { class: "workspace-words" }, h("span", { class: "workspace-name" }, workspace.team.name || "Sandbox"), h("span", { class: "workspace-kind" }, "Sandbox workspace"))),
      this.switcher(people),
      h(
        "div",
        { class: "sidebar-scroll" },
        section("Channels", channels.map((channel) => this.channelRow(channel, route))),
        section("Direct messages", people.map((user) => this.personRow(user, route))),
        section("Apps", [...workspace.apps.values()].map((each) => this.appRow(each, route))),
      ),
      h("div", { class: "sidebar-foot" }, "A local demo: everything stays on this computer, nothing is sent to Slack."),
    );
    if (focus) this.element.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
  }

  /** switcher lets anybody sit down at another person's place. */
  switcher(people) {
    const { me } = this.app.workspace;
    const chip = (user) =>
      h(
        "button",
        { class: `seat${user.id === me ? " is-me" : ""}`, type: "button", "aria-pressed": String(user.id === me), data: { user: user.id, key: `seat ${user.id}` }, title: [displayName(user), user.title, user.is_guest && "guest"].filter(Boolean).join(" · "), onclick: () => this.app.switchUser(user.id) },
        avatar(user, 30),
        h("span", { class: "seat-name" }, displayName(user).split(/\s+/)[0]),
      );
    return h("div", { class: "seats", role: "group", "aria-label": "You are looking through the eyes of" }, h("div", { class: "seats-label" }, "You are"), h("div", { class: "seats-row" }, people.map(chip)));
  }

  channelRow(channel, route) {
    return this.row({ key: channel.id, active: route.target === channel.id, unread: channel.unread, picture: icon(channel.is_private ? "lock" : "hash", 16), text: channel.name, data: { channel: channel.id }, go: () => this.app.go({ target: channel.id }) });
  }

  personRow(user, route) {
    const { workspace } = this.app;
    const dm = workspace.dmWith(user.id);
    const you = user.id === workspace.me ? h("span", { class: "row-note" }, "you") : null;
    const dot = h("span", { class: `presence ${user.presence === "away" ? "is-away" : "is-active"}` });
    return this.row({ key: `dm ${user.id}`, active: Boolean(dm) && route.target === dm, unread: dm && workspace.channels.get(dm)?.unread, picture: h("span", { class: "row-avatar" }, avatar(user, 20), dot), text: [displayName(user), you], data: { dm: user.id, channel: dm }, go: () => this.app.openDm(user.id) });
  }

  appRow(each, route) {
    const { workspace } = this.app;
    const dm = workspace.dmWith(each.bot_user_id);
    const bot = { ...workspace.user(each.bot_user_id), is_bot: true };
    const state = connection(each);
    return this.row({ key: each.id, active: route.target === each.id, unread: dm && workspace.channels.get(dm)?.unread, picture: h("span", { class: "row-avatar" }, avatar(bot, 20)), text: each.name, note: h("span", { class: `connection ${state.className}`, role: "img", "aria-label": state.text, title: state.text, data: { connected: String(Boolean(each.connected)) } }), data: { app: each.id, channel: dm }, go: () => this.app.go({ target: each.id }) });
  }

  row({ key, active, unread, picture, text, note, data, go }) {
    return h(
      "button",
      { class: ["row", active && "is-active", unread && "is-unread"].filter(Boolean).join(" "), type: "button", "aria-current": active ? "page" : undefined, data: { ...data, key }, onclick: () => (this.app.closeDrawer(), go()) },
      h("span", { class: "row-picture" }, picture),
      h("span", { class: "row-text" }, text),
      note ?? null,
      unread ? h("span", { class: "row-badge", "aria-label": `${unread} unread` }, String(unread)) : null,
    );
  }

  key(event) {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const stops = [...this.element.querySelectorAll("button.row")];
    const at = stops.indexOf(document.activeElement);
    if (at < 0) return;
    event.preventDefault();
    stops[Math.max(0, Math.min(stops.length - 1, at + (event.key === "ArrowDown" ? 1 : -1)))].focus();
  }
}

/** connection puts an app's connection into a class and words. */
export function connection(app) {
  if (app.connected === undefined) return { className: "", text: `${app.name}: connection unknown` };
  const via = { socket: "Socket Mode", http: "HTTP" }[app.via] ?? app.via;
  if (app.connected) return { className: "is-connected", text: `${app.name} is connected${via ? ` via ${via}` : ""}` };
  return { className: "is-gone", text: `${app.name} is not connected` };
}

const section = (title, rows) => (rows.length ? h("section", { class: "sidebar-section", "aria-label": title }, h("h2", { class: "sidebar-title" }, title), rows) : null);
