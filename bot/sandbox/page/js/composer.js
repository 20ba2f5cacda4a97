// The message box: drafts, formatting, completion of commands, people,
// channels and emoji, and Slack's rules for slash commands.

import { post } from "./api.js";
import { freshId, h, replace, spend } from "./dom.js";
import { emoji, shortcodes } from "./emoji.js";
import { avatar, icon } from "./icons.js";
import * as popup from "./popup.js";
import { displayName } from "./workspace.js";

const drafts = new Map();

export class Composer {
  constructor(app, { id, thread = false }) {
    this.app = app;
    this.isThread = thread;
    this.listId = freshId("suggestions");
    this.build(id);
  }

  build(id) {
    this.box = h("textarea", {
      class: "composer-text", id, rows: "1", role: "combobox", "aria-autocomplete": "list", "aria-haspopup": "listbox", "aria-expanded": "false", "aria-controls": this.listId, spellcheck: "true",
      data: { composer: this.isThread ? "thread" : "channel" },
      oninput: () => this.typed(), onkeydown: (event) => this.key(event), onclick: () => this.suggest(), onblur: () => this.hideSuggestions(),
    });
    this.send = h("button", { class: "send", type: "submit", "aria-label": "Send now", title: "Send (Enter)", disabled: true }, icon("send", 16));
    this.suggestions = h("div", { class: "suggestions", id: this.listId, role: "listbox", "aria-label": "Suggestions", hidden: true });
    this.hint = h("div", { class: "composer-hint", hidden: true });
    this.notice = h("div", { class: "composer-notice", role: "alert", hidden: true });
    this.status = h("div", { class: "composer-status", "aria-live": "polite" });
    this.element = h(
      "form",
      { class: "composer", onsubmit: (event) => (event.preventDefault(), this.submit()) },
      this.notice,
      this.suggestions,
      h("div", { class: "composer-frame" }, this.hint, this.formatBar(), this.box, this.actionBar()),
      this.status,
    );
  }

  formatBar() {
    const wrap = (name, label, mark) => h("button", { class: "icon-button small", type: "button", "aria-label": label, title: label, onclick: () => this.surround(mark) }, icon(name, 16));
    return h("div", { class: "format-bar", role: "toolbar", "aria-label": "Formatting" }, wrap("bold", "Bold", "*"), wrap("italic", "Italic", "_"), wrap("strike", "Strikethrough", "~"), wrap("code", "Code", "`"));
  }

  actionBar() {
    const tool = (name, label, run, extra) => h("button", { class: "icon-button small", type: "button", "aria-label": label, title: label, onclick: run, ...extra }, icon(name, 17));
    const menu = { "aria-haspopup": "menu", "aria-expanded": "false" };
    const commands = this.isThread ? null : tool("slash", "Run a command", () => this.startWith("/"), { data: { tool: "commands" } });
    const shortcuts = this.isThread ? null : tool("bolt", "Shortcuts", (event) => this.openShortcuts(event.currentTarget), { ...menu, data: { tool: "shortcuts" } });
    return h(
      "div",
      { class: "action-bar" },
      tool("smile", "Emoji", (event) => this.openEmoji(event.currentTarget), { ...menu, "aria-haspopup": "listbox" }),
      tool("at", "Mention someone", () => this.insert("@")),
      commands,
      shortcuts,
      h("span", { class: "composer-keys" }, h("kbd", null, "Shift"), "+", h("kbd", null, "Enter"), " for a new line"),
      this.send,
    );
  }

  /** show turns to a conversation and brings its draft back. */
  show(channel, thread) {
    Object.assign(this, { channel, thread, draftKey: `${this.app.workspace.me}/${channel}/${thread ?? ""}` });
    this.box.value = drafts.get(this.draftKey) ?? "";
    const title = this.app.workspace.title(this.app.workspace.channels.get(channel));
    const prefix = this.app.workspace.channels.get(channel)?.is_im ? "" : "#";
    this.box.placeholder = thread ? "Reply…" : `Message ${prefix}${title}`;
    this.box.setAttribute("aria-label", this.box.placeholder);
    this.say("");
    this.working("");
    this.resize();
    this.hideSuggestions();
    this.showHint();
    this.send.disabled = !this.box.value.trim();
  }

  focus() {
    this.box.focus({ preventScroll: true });
  }

  typed() {
    drafts.set(this.draftKey, this.box.value);
    this.send.disabled = !this.box.value.trim();
    this.say("");
    this.resize();
    this.suggest();
    this.showHint();
  }

  resize() {
    this.box.style.height = "auto";
    this.box.style.height = `${Math.min(this.box.scrollHeight, 240)}px`;
  }

  say(text) {
    this.notice.hidden = !text;
    this.notice.textContent = text;
  }

  /** working says that a command is on its way, until the app answers. */
  working(text) {
    this.status.textContent = text;
    this.status.classList.toggle("is-working", Boolean(text));
  }

  // Sending.

  async submit() {
    const text = this.box.value.trimEnd();
    if (!text.trim() || this.sending) return;
    this.sending = true;
    try {
      if (await this.deliver(text)) this.clear();
    } catch (error) {
      this.say(error.message);
    } finally {
      this.sending = false;
    }
  }

  /** deliver sends a message or runs a command; false keeps what was typed. */
  async deliver(text) {
    const { workspace } = this.app;
    const slash = /^\/(\S+)(?:\s+([\s\S]*))?$/.exec(text);
    if (!slash) {
      await post("message", { user: workspace.me, channel: this.channel, text: text.replace(/^\s+(?=\/)/, ""), thread_ts: this.thread });
      return true;
    }
    const command = `/${slash[1]}`;
    const known = workspace.commands.find((each) => each.command === command);
    if (this.isThread) return this.refuse(`${command} is not supported in threads. Sorry!`);
    if (!known) return this.refuse(`${command} is not a valid command. Messages that start with “/” are read as commands; to send one as text, put a space before the “/”.`);
    this.app.commandStarted(this.channel);
    this.working(`${command} sent, waiting for the answer…`);
    try {
      await post("command", { user: workspace.me, channel: this.channel, command, text: (slash[2] ?? "").trim() });
    } catch (error) {
      this.working("");
      throw error;
    }
    return true;
  }

  refuse(text) {
    this.say(text);
    return false;
  }

  clear() {
    this.box.value = "";
    drafts.delete(this.draftKey);
    this.typed();
  }

  // Editing.

  insert(text) {
    const { selectionStart: from, value } = this.box;
    const space = text === "@" && from > 0 && !/\s$/.test(value.slice(0, from)) ? " " : "";
    this.box.setRangeText(space + text, from, this.box.selectionEnd, "end");
    this.focus();
    this.typed();
  }

  startWith(text) {
    if (!this.box.value.startsWith(text)) this.box.value = text + this.box.value;
    this.focus();
    this.box.setSelectionRange(text.length, text.length);
    this.typed();
  }

  surround(mark) {
    const { selectionStart: from, selectionEnd: to, value } = this.box;
    this.box.setRangeText(mark + value.slice(from, to) + mark, from, to, "select");
    this.box.setSelectionRange(from + 1, to + 1);
    this.focus();
    this.typed();
  }

  openEmoji(anchor) {
    const options = shortcodes.map((name) => ({ text: `:${name}:`, value: name, icon: emoji(name) }));
    popup.openList({ anchor, label: "Emoji", options, filter: true, choose: ({ value }) => this.insert(`:${value}: `) });
  }

  openShortcuts(anchor) {
    const global = this.app.workspace.shortcuts.filter((shortcut) => shortcut.type === "global");
    const options = [
      ...global.map((shortcut) => ({ text: shortcut.name, value: shortcut.callback_id, icon: icon("bolt", 16), run: () => this.app.shortcut(shortcut) })),
      ...this.app.workspace.commands.map((command) => ({ text: command.command, description: command.description, value: command.command, icon: icon("slash", 16), run: () => this.startWith(`${command.command} `) })),
    ];
    popup.openList({ anchor, label: "Shortcuts", menu: true, filter: false, options, choose: (option) => option.run() });
  }

  // Completion.

  key(event) {
    if (event.isComposing) return;
    const open = !this.suggestions.hidden;
    if (open && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      spend(event);
      this.steered = true;
      this.point(this.active + (event.key === "ArrowDown" ? 1 : -1));
    } else if (open && event.key === "Escape") {
      spend(event);
      event.stopPropagation();
      this.hideSuggestions();
    } else if (open && (event.key === "Tab" || event.key === "Enter") && !event.shiftKey && (event.key === "Tab" || this.steered || !this.complete())) {
      spend(event);
      this.accept(this.active);
    } else if (event.key === "Enter" && !event.shiftKey) {
      spend(event);
      this.submit();
    }
  }

  /** complete says whether the word before the caret is already one of the suggestions, so Enter sends. */
  complete() {
    return this.items.some((item) => item.insert.trim().toLowerCase() === this.range.word.toLowerCase());
  }

  suggest() {
    const found = this.lookup();
    this.items = found?.items ?? [];
    this.range = found;
    this.steered = false;
    if (!this.items.length) return this.hideSuggestions();
    this.suggestions.hidden = false;
    this.box.setAttribute("aria-expanded", "true");
    replace(this.suggestions, h("div", { class: "suggestions-title", role: "presentation" }, found.title), this.items.map((item, index) => this.suggestionRow(item, index)));
    this.point(0);
  }

  suggestionRow(item, index) {
    return h(
      "div",
      { class: "suggestion", id: `${this.listId}-${index}`, role: "option", data: { value: item.insert.trim() }, onpointerdown: (event) => (event.preventDefault(), this.accept(index)), onpointermove: () => this.active !== index && this.point(index) },
      item.icon ? h("span", { class: "suggestion-icon" }, item.icon) : null,
      h("span", { class: "suggestion-text" }, h("span", { class: "suggestion-name" }, item.name, item.usage ? h("span", { class: "suggestion-usage" }, " ", item.usage) : null), item.description ? h("span", { class: "suggestion-description" }, item.description) : null),
    );
  }

  point(index) {
    const rows = [...this.suggestions.querySelectorAll(".suggestion")];
    this.active = (index + rows.length) % rows.length;
    rows.forEach((row, each) => row.setAttribute("aria-selected", String(each === this.active)));
    rows[this.active]?.scrollIntoView({ block: "nearest" });
    this.box.setAttribute("aria-activedescendant", `${this.listId}-${this.active}`);
  }

  accept(index) {
    const item = this.items[index];
    this.box.setRangeText(item.insert, this.range.from, this.box.selectionStart, "end");
    this.focus();
    this.typed();
  }

  hideSuggestions() {
    this.suggestions.hidden = true;
    this.box.setAttribute("aria-expanded", "false");
    this.box.removeAttribute("aria-activedescendant");
  }

  /** lookup finds what could complete the word before the caret. */
  lookup() {
    const before = this.box.value.slice(0, this.box.selectionStart);
    const command = /^\/\S*$/.exec(before);
    if (command && !this.isThread) return { title: "Commands", from: 0, word: before, items: this.commandItems(before) };
    const word = /(?:^|[\s(])([@#:])([\w.+-]*)$/.exec(before);
    if (!word || (word[1] === ":" && word[2].length < 2)) return undefined;
    const wanted = word[2].toLowerCase();
    const from = before.length - word[2].length - 1;
    const found = { "@": () => this.peopleItems(wanted), "#": () => this.channelItems(wanted), ":": () => emojiItems(wanted) }[word[1]]();
    return { ...found, from, word: word[1] + word[2] };
  }

  commandItems(typed) {
    const { commands } = this.app.workspace;
    return commands.filter((each) => each.command.startsWith(typed.toLowerCase())).map((each) => ({ insert: `${each.command} `, name: each.command, usage: each.usage_hint, description: each.description, icon: icon("slash", 18) }));
  }

  peopleItems(wanted) {
    const people = [...this.app.workspace.users.values()].filter((user) => [user.name, displayName(user)].some((name) => (name ?? "").toLowerCase().includes(wanted)));
    return { title: "People and apps", items: people.slice(0, 8).map((user) => ({ insert: `@${user.name} `, name: displayName(user), description: user.is_bot ? `@${user.name} · app` : `@${user.name}${user.title ? ` · ${user.title}` : ""}`, icon: avatar(user, 22) })) };
  }

  channelItems(wanted) {
    const channels = [...this.app.workspace.channels.values()].filter((channel) => !channel.is_im && channel.name.toLowerCase().includes(wanted));
    return { title: "Channels", items: channels.slice(0, 8).map((channel) => ({ insert: `#${channel.name} `, name: channel.name, description: channel.topic, icon: icon(channel.is_private ? "lock" : "hash", 16) })) };
  }

  /** showHint keeps a command's usage in sight while its text is typed. */
  showHint() {
    const match = /^(\/\S+)\s/.exec(this.box.value);
    const command = match && !this.isThread && this.app.workspace.commands.find((each) => each.command === match[1]);
    this.hint.hidden = !command;
    if (command) replace(this.hint, icon("slash", 14), h("strong", null, command.command), " ", h("span", { class: "suggestion-usage" }, command.usage_hint), command.description ? h("span", { class: "composer-hint-text" }, command.description) : null);
  }
}

function emojiItems(wanted) {
  const names = shortcodes.filter((name) => name.includes(wanted)).sort((a, b) => a.indexOf(wanted) - b.indexOf(wanted));
  return { title: "Emoji", items: names.slice(0, 8).map((name) => ({ insert: `:${name}: `, name: `:${name}:`, icon: emoji(name) })) };
}
