// The page: a live view of one workspace through one person's eyes.
//
//	address  #/<channel or app>?user=U…&thread=…&tab=…   where we are
//	state    GET /client/state, then the stream           what is true (workspace.js)
//	panes    sidebar · conversation or app · thread        what is drawn
//
// Everything the page does goes through the App below; the parts know it as `app`.

import { get, post, stream } from "./api.js";
import { Composer } from "./composer.js";
import { add, h, isPhone, replace } from "./dom.js";
import { aboutApp, HomeTab } from "./home.js";
import { avatar, icon } from "./icons.js";
import { Interactions } from "./interactions.js";
import { MessageList } from "./messages.js";
import { Modals } from "./modal.js";
import { plain } from "./mrkdwn.js";
import * as popup from "./popup.js";
import { connection, Sidebar } from "./sidebar.js";
import { openSwitcher } from "./switcher.js";
import { clear as clearToasts, toast } from "./toasts.js";
import { displayName, Workspace } from "./workspace.js";

/** FOLLOW is how long after a command the thread it starts is opened by itself. */
const FOLLOW = 12000;

class App {
  constructor() {
    this.workspace = new Workspace();
    this.interactions = new Interactions({ workspace: this.workspace, toast });
    this.modals = new Modals(this);
    this.route = {};
    this.freshThreads = new Set();
    this.toast = toast;
    this.root = document.getElementById("app");
    this.main = document.getElementById("main");
    this.threadPane = document.getElementById("thread");
    this.sidebar = new Sidebar(this, document.getElementById("sidebar"));
    this.list = new MessageList(this, { label: "Messages" });
    this.composer = new Composer(this, { id: "composer" });
    this.threadList = new MessageList(this, { thread: true, label: "Thread" });
    this.threadComposer = new Composer(this, { id: "thread-composer", thread: true });
    this.home = new HomeTab(this);
    this.listen();
  }

  // Life.

  /** start sits down as a user (or as whoever the server suggests) and follows the stream. */
  async start(user) {
    this.closeStream?.();
    const turn = (this.turn = Symbol("turn"));
    let state;
    try {
      state = await get("state", { user });
    } catch (error) {
      if (error.code !== "unreachable" && user) return this.start(undefined);
      this.offline(true);
      setTimeout(() => this.turn === turn && this.start(user), 1500);
      return undefined;
    }
    if (this.turn !== turn) return undefined;
    this.offline(false);
    this.modals.reset();
    this.freshThreads.clear();
    this.workspace.load(state);
    this.closeStream = stream({
      user: this.workspace.me,
      seq: this.workspace.seq,
      onevent: (type, body) => this.workspace.apply(type, body),
      onbreak: () => this.offline(true),
      onback: (last) => this.back(last),
    });
    this.home.id = undefined;
    this.show(this.place(address()), { force: true });
    this.root.dataset.ready = "true";
    this.root.dataset.me = this.workspace.me;
    return undefined;
  }

  /**
   * back runs after a break. The workspace may have been started anew, so the page looks at
   * everything again; only a half-filled modal is worth trusting the numbers for.
   */
  async back(last) {
    this.offline(false);
    const state = this.modals.top() ? await get("state", { user: this.workspace.me }).catch(() => undefined) : undefined;
    if (!state || state.seq < last) this.start(this.workspace.me);
  }

  offline(yes) {
    this.root.classList.toggle("is-offline", yes);
    this.drawTop();
  }

  listen() {
    const { workspace } = this;
    workspace.on("channels", () => this.channelsChanged());
    workspace.on("apps", () => (this.sidebar.draw(), this.drawTop(), this.drawBanner()));
    workspace.on("timeline", (change) => this.timelineChanged(change));
    workspace.on("arrival", (arrival) => this.arrived(arrival));
    workspace.on("home", ({ app, view }) => {
      if (view) this.interactions.settle(view.id);
      if (app === this.home.id) this.home.draw();
    });
    workspace.on("modal", (event) => (this.quiet(), this.modals.apply(event)));
    workspace.on("toast", (event) => this.told(event));
    // The break was too long to resume: look at everything anew.
    workspace.on("reset", () => this.start(workspace.me));
    addEventListener("hashchange", () => this.hashChanged());
    document.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("click", (event) => this.followLink(event));
    document.addEventListener("visibilitychange", () => this.seen(this.list.channel));
    this.wireTop();
  }

  // Where we are.

  /** go changes the route; what is not named stays. */
  go(change, { replaceHistory = false } = {}) {
    const moved = change.target && change.target !== this.route.target;
    const next = this.place({ ...this.route, ...(moved ? { thread: undefined, tab: undefined, ts: undefined } : {}), ...change });
    const hash = formatHash(next, this.workspace.me);
    if (hash !== location.hash) history[replaceHistory ? "replaceState" : "pushState"](null, "", hash);
    return this.show(next);
  }

  /** place makes a route possible for this user: a channel they can see, or the first one. */
  place(route) {
    const { workspace } = this;
    const channel = workspace.channels.get(route.target);
    // An app's direct message is the Messages tab of the app.
    const app = channel?.is_im && workspace.appOfBot(channel.im_user);
    if (app) return { ...route, target: app.id, tab: "messages" };
    if (channel || workspace.apps.has(route.target)) return route;
    const channels = [...workspace.channels.values()].filter((each) => !each.is_im);
    const first = channels.find((each) => each.bot_is_member) ?? channels[0] ?? [...workspace.channels.values()][0];
    return { target: first?.id ?? [...workspace.apps.keys()][0] };
  }

  async show(route, { force = false } = {}) {
    const before = this.route;
    this.route = route;
    history.replaceState(null, "", formatHash(route, this.workspace.me));
    const app = this.workspace.apps.get(route.target);
    if (app && !route.tab) this.route.tab = this.firstTab(app);
    const same = !force && before.target === route.target && before.tab === this.route.tab;
    if (!same) await (app ? this.showApp(app) : this.showChannel(route.target));
    this.sidebar.draw();
    this.showThread(force);
    this.drawTitle();
    if (route.ts) this.list.reveal(route.ts);
  }

  firstTab(app) {
    const dm = this.workspace.dmWith(app.bot_user_id);
    return app.home_enabled === false || this.workspace.channels.get(dm)?.unread ? "messages" : "home";
  }

  showChannel(id) {
    this.home.id = undefined;
    replace(this.main, this.channelHead(), this.banner(), this.list.element, this.writingPlace(id));
    return this.openConversation(id);
  }

  /** writingPlace is the message box, or why this person can't write here. */
  writingPlace(id) {
    const channel = this.workspace.channels.get(id);
    if (channel?.is_archived) return h("div", { class: "no-writing" }, `#${channel.name} is archived: it can be read, not written to.`);
    if (!channel || channel.is_im || channel.is_member !== false) return this.composer.element;
    return h("div", { class: "no-writing" }, h("span", null, "You are looking at ", h("strong", null, `#${channel.name}`), "."), h("button", { class: "button button-primary", type: "button", data: { join: id }, onclick: () => this.join(id) }, "Join channel"));
  }

  async join(channel) {
    try {
      await post("join", { user: this.workspace.me, channel });
      this.workspace.setChannel({ ...this.workspace.channels.get(channel), is_member: true });
      this.show(this.route, { force: true });
    } catch (error) {
      toast("error", error.message);
    }
  }

  async openConversation(id) {
    const unread = this.workspace.channels.get(id)?.unread ?? 0;
    this.composer.show(id);
    if (!isPhone() && !document.querySelector("dialog[open]") && !this.sidebar.element.contains(document.activeElement)) this.composer.focus();
    await this.list.show(id, undefined, unread);
    this.seen(id);
  }

  async showApp(app) {
    this.home.id = undefined;
    this.list.channel = undefined;
    const { tab } = this.route;
    const head = this.appHead(app);
    if (tab === "home") {
      replace(this.main, head, this.banner(), this.home.element);
      return this.home.show(app.id);
    }
    if (tab === "about") return replace(this.main, head, aboutApp(app, this.workspace));
    replace(this.main, head, this.banner(), this.list.element, this.composer.element);
    const dm = this.workspace.dmWith(app.bot_user_id) ?? (await this.makeDm(app.bot_user_id));
    return dm && this.openConversation(dm);
  }

  channelHead() {
    const channel = this.workspace.channels.get(this.route.target);
    const { workspace } = this;
    const mark = channel?.is_im ? avatar(workspace.user(channel.im_user), 24) : icon(channel?.is_private ? "lock" : "hash", 18);
    return h("header", { class: "main-head" }, h("h1", { class: "main-title" }, mark, workspace.title(channel)), channel?.topic ? h("p", { class: "main-topic" }, plain(channel.topic)) : null);
  }

  appHead(app) {
    const bot = { ...this.workspace.user(app.bot_user_id), is_bot: true };
    const dm = this.workspace.channels.get(this.workspace.dmWith(app.bot_user_id));
    const tab = (name, label, badge) =>
      h("button", { class: "tab", type: "button", role: "tab", "aria-selected": String(this.route.tab === name), tabIndex: this.route.tab === name ? 0 : -1, data: { tab: name }, onclick: () => this.go({ tab: name, thread: undefined }) }, label, badge ? h("span", { class: "row-badge" }, String(badge)) : null);
    const tabs = h("div", { class: "tabs", role: "tablist", "aria-label": app.name, onkeydown: (event) => this.tabKey(event) }, app.home_enabled === false ? null : tab("home", "Home"), tab("messages", "Messages", this.route.tab === "messages" ? 0 : dm?.unread), tab("about", "About"));
    return h("header", { class: "main-head app-head" }, h("h1", { class: "main-title" }, avatar(bot, 24), app.name, h("span", { class: "badge" }, "APP")), tabs);
  }

  tabKey(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const tabs = [...event.currentTarget.querySelectorAll("[role=tab]")];
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    next.click();
    this.main.querySelector(`[data-tab="${next.dataset.tab}"]`)?.focus();
  }

  banner() {
    this.bannerElement = h("div", { class: "banner", role: "status", hidden: true });
    this.drawBanner();
    return this.bannerElement;
  }

  drawBanner() {
    if (!this.bannerElement) return;
    const gone = [...this.workspace.apps.values()].filter((app) => app.connected === false);
    this.bannerElement.hidden = gone.length === 0;
    this.bannerElement.textContent = gone.length ? `${gone.map((app) => app.name).join(", ")} is not connected. Commands and buttons get no answer until it is back.` : "";
  }

  // Threads.

  openThread(channel, ts, { focus = false } = {}) {
    this.returnFocus = document.activeElement;
    this.go({ thread: ts });
    if (focus || !isPhone()) this.threadComposer.focus();
    return channel;
  }

  closeThread() {
    if (!this.route.thread) return;
    const root = this.route.thread;
    this.go({ thread: undefined });
    const article = this.list.log.querySelector(`article[data-ts="${CSS.escape(root)}"]`);
    if (isPhone()) article?.focus({ preventScroll: true });
    else this.composer.focus();
  }

  showThread(force) {
    const { thread } = this.route;
    const channel = this.list.channel;
    this.root.classList.toggle("has-thread", Boolean(thread && channel));
    this.threadPane.hidden = !(thread && channel);
    if (this.threadPane.hidden) {
      this.threadList.thread = undefined;
      return;
    }
    this.freshThreads.delete(`${channel}/${thread}`);
    this.list.sync();
    if (!force && this.threadList.thread === thread && this.threadList.channel === channel) return;
    const where = this.workspace.channels.get(channel);
    const close = h("button", { class: "icon-button", type: "button", "aria-label": "Close thread", title: "Close (Esc)", data: { closeThread: "true" }, onclick: () => this.closeThread() }, icon("close"));
    replace(this.threadPane, h("header", { class: "main-head" }, h("h2", { class: "main-title" }, "Thread", h("span", { class: "thread-where" }, where?.is_im ? this.workspace.title(where) : `#${where?.name ?? ""}`)), close), this.threadList.element, this.threadComposer.element);
    this.threadComposer.show(channel, thread);
    this.threadList.show(channel, thread);
  }

  hasNewReplies(channel, message) {
    return this.freshThreads.has(`${channel}/${message.ts}`);
  }

  // What happens elsewhere.

  timelineChanged(change) {
    if (change.changed) this.interactions.settle(`${change.channel}/${change.ts}`);
    if (change.key === this.list.channel) this.list.changed(change);
    if (change.key === `${this.threadList.channel}/${this.threadList.thread}`) this.threadList.changed(change);
  }

  arrived({ channel, message }) {
    const { me } = this.workspace;
    if (message.user === me) return;
    this.quiet();
    for (const key of [...this.interactions.waiting.keys()]) if (key.startsWith(`${channel}/`)) this.interactions.settle(key);
    const reply = message.thread_ts && message.thread_ts !== message.ts;
    if (reply) this.replyArrived(channel, message);
    else if (this.workspace.channels.get(channel)?.is_im && this.list.channel !== channel && !message.is_ephemeral) this.notify(channel, message);
  }

  replyArrived(channel, message) {
    const root = message.thread_ts;
    if (this.threadList.channel === channel && this.threadList.thread === root) return;
    if (this.startedHere(channel, root)) {
      this.follow = undefined;
      this.openThread(channel, root);
      return;
    }
    this.freshThreads.add(`${channel}/${root}`);
    if (this.list.channel === channel) this.list.sync();
    if (this.list.channel !== channel || message.is_ephemeral) this.notify(channel, message);
  }

  /** startedHere says whether this person's own command has just begun this thread, in plain view. */
  startedHere(channel, root) {
    const { follow } = this;
    const recent = follow && Date.now() - follow.at < FOLLOW && follow.channel === channel;
    return recent && Number.parseFloat(root) * 1000 >= follow.at - 1500 && this.list.channel === channel && !this.route.thread && !isPhone() && !document.querySelector("dialog[open]");
  }

  /** notify tells of a message that is not on screen. */
  notify(channel, message) {
    const { workspace } = this;
    const author = workspace.author(message);
    const where = workspace.channels.get(channel);
    const text = [...(message.text ?? "New message").replace(/<[^<>|]+\|([^<>]+)>/g, "$1").replace(/[*_~`]/g, "")].slice(0, 120).join("");
    const thread = message.thread_ts && message.thread_ts !== message.ts ? message.thread_ts : undefined;
    toast("info", plain(text), {
      title: where?.is_im ? displayName(author) : `${displayName(author)} in #${where?.name ?? ""}${thread ? " (thread)" : ""}`,
      picture: avatar(author, 32),
      action: { label: "View", run: () => this.go({ target: channel, thread, tab: undefined }) },
    });
  }

  told({ level = "info", text }) {
    this.quiet();
    if (level === "error" || level === "warning") {
      this.interactions.settleAll();
      this.modals.trouble();
    }
    toast(level, text);
  }

  /** quiet ends "waiting for the answer": something came. */
  quiet() {
    clearTimeout(this.patience);
    this.composer.working("");
  }

  commandStarted(channel) {
    this.follow = { channel, at: Date.now() };
    if (channel && channel === this.list.channel) this.list.toBottom();
    clearTimeout(this.patience);
    this.patience = setTimeout(() => this.composer.working(""), 4000);
  }

  channelsChanged() {
    if (!this.route.target) return;
    this.sidebar.draw();
    this.drawTitle();
    if (this.list.channel && this.list.stuck) this.seen(this.list.channel);
  }

  /** seen tells the server that this user has read a channel to its end. */
  seen(channel) {
    if (!channel || document.hidden || channel !== this.list.channel || !this.list.stuck || !this.list.loaded) return;
    if (!this.workspace.markRead(channel)) return;
    const ts = this.workspace.messages(channel).at(-1)?.ts ?? this.workspace.channels.get(channel)?.last_ts;
    post("read", { user: this.workspace.me, channel, ts }).catch(() => {});
  }

  // What the person does.

  async switchUser(id) {
    if (id === this.workspace.me) return;
    popup.close();
    clearToasts();
    const { target, tab, thread } = this.route;
    history.pushState(null, "", formatHash({ target, tab, thread }, id));
    await this.start(id);
    toast("success", "You see what they see, and act in their name.", { title: `You are now ${displayName(this.workspace.user(id))}`, picture: avatar(this.workspace.user(id), 32) });
    this.sidebar.element.querySelector(`[data-user="${CSS.escape(id)}"]`)?.focus({ preventScroll: true });
  }

  async openDm(other) {
    const app = this.workspace.appOfBot(other);
    if (app) return this.go({ target: app.id, tab: "messages" });
    const channel = this.workspace.dmWith(other) ?? (await this.makeDm(other));
    return channel && this.go({ target: channel });
  }

  async makeDm(other) {
    try {
      const { channel } = await post("open_dm", { user: this.workspace.me, other });
      const made = typeof channel === "string" ? { id: channel } : channel;
      this.workspace.setChannel({ is_im: true, im_user: other, ...this.workspace.channels.get(made.id), ...made });
      return made.id;
    } catch (error) {
      toast("error", error.message);
      return undefined;
    }
  }

  async shortcut(shortcut, channel, ts) {
    try {
      this.commandStarted(channel);
      await post("shortcut", { user: this.workspace.me, callback_id: shortcut.callback_id, channel, message_ts: ts });
    } catch (error) {
      toast("error", error.message);
    }
  }

  /** react adds this person's reaction, or takes it back. */
  async react(channel, ts, name) {
    const { me } = this.workspace;
    const known = this.workspace.find(channel, ts)?.reactions?.find((reaction) => reaction.name === name);
    try {
      await post("reaction", { user: me, channel, ts, name, add: !known?.users?.includes(me) });
    } catch (error) {
      toast("error", error.message);
    }
  }

  async copy(text, said) {
    try {
      await navigator.clipboard.writeText(text);
      toast("success", said);
    } catch {
      toast("warning", "The browser did not allow copying here.");
    }
  }

  permalink(channel, ts) {
    const message = this.workspace.find(channel, ts);
    const thread = message?.thread_ts && message.thread_ts !== ts ? message.thread_ts : undefined;
    return `${location.origin}/${formatHash({ target: channel, thread, ts }, undefined)}`;
  }

  focusComposer() {
    (this.route.thread ? this.threadComposer : this.composer).focus();
  }

  // Chrome around it all.

  wireTop() {
    const drawer = document.getElementById("open-drawer");
    add(drawer, icon("menu", 20));
    drawer.addEventListener("click", () => this.openDrawer());
    document.getElementById("scrim").addEventListener("click", () => this.closeDrawer());
    const jump = document.getElementById("open-switcher");
    add(jump.querySelector(".jump-icon"), icon("search", 15));
    jump.querySelector("kbd").textContent = /Mac|iPhone|iPad/.test(navigator.platform) ? "⌘K" : "Ctrl K";
    jump.addEventListener("click", () => openSwitcher(this));
    this.status = h("div", { class: "top-status", role: "status" });
    document.querySelector(".demo-badge").before(this.status);
  }

  drawTop() {
    if (!this.status) return;
    if (this.root.classList.contains("is-offline")) {
      replace(this.status, h("span", { class: "top-pill is-gone" }, "Reconnecting to the sandbox…"));
      return;
    }
    replace(this.status, [...this.workspace.apps.values()].filter((app) => app.connected !== undefined).map((app) => topPill(app)));
  }

  drawTitle() {
    const { workspace, route } = this;
    const unread = [...workspace.channels.values()].reduce((sum, channel) => sum + (channel.unread ?? 0), 0);
    const channel = workspace.channels.get(route.target);
    const here = workspace.apps.get(route.target)?.name ?? (channel?.is_im ? workspace.title(channel) : `#${channel?.name ?? ""}`);
    document.title = `${unread ? `(${unread}) ` : ""}${here} · ${workspace.team.name || "Sandbox workspace"}`;
  }

  openDrawer() {
    this.root.classList.add("has-drawer");
    document.getElementById("scrim").hidden = false;
    document.getElementById("open-drawer").setAttribute("aria-expanded", "true");
    (this.sidebar.element.querySelector(".row.is-active") ?? this.sidebar.element).focus();
  }

  closeDrawer() {
    if (!this.root.classList.contains("has-drawer")) return;
    this.root.classList.remove("has-drawer");
    document.getElementById("scrim").hidden = true;
    document.getElementById("open-drawer").setAttribute("aria-expanded", "false");
    document.getElementById("open-drawer").focus();
  }

  key(event) {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      if (!document.querySelector("dialog[open]")) openSwitcher(this);
    } else if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector("dialog[open]")) {
      if (this.root.classList.contains("has-drawer")) this.closeDrawer();
      else this.closeThread();
    } else if (event.key === "F6") {
      event.preventDefault();
      this.nextRegion(event.shiftKey ? -1 : 1);
    }
  }

  /** nextRegion moves between the panes: sidebar, messages, message box, thread. */
  nextRegion(step) {
    const stops = [this.sidebar.element.querySelector(".row.is-active"), this.main.querySelector("article[tabindex='0']"), this.main.querySelector("textarea"), this.threadPane.hidden ? null : this.threadPane.querySelector("textarea")].filter(Boolean);
    const at = stops.findIndex((stop) => stop === document.activeElement);
    stops[(at + step + stops.length) % stops.length]?.focus();
  }

  hashChanged() {
    const route = parseHash();
    if (route.user && route.user !== this.workspace.me) this.start(route.user);
    else this.show(this.place(route));
  }

  /** followLink keeps links into this workspace inside the page. */
  followLink(event) {
    const anchor = event.target.closest?.("a");
    if (!anchor || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const place = insideLink(anchor);
    if (!place) return;
    event.preventDefault();
    if (place.user) this.openDm(place.user);
    else this.go(place);
  }
}

function topPill(app) {
  const state = connection(app);
  const via = { socket: "Socket Mode", http: "HTTP" }[app.via] ?? "";
  return h("span", { class: `top-pill ${state.className}`, title: state.text, data: { appState: app.id, connected: String(app.connected) } }, h("span", { class: `connection ${state.className}` }), app.name, h("span", { class: "top-pill-via" }, app.connected ? via : "not connected"));
}

/** insideLink reads links to this workspace: mentions, permalinks (/archives/C…/p…), slack://. */
function insideLink(anchor) {
  if (anchor.dataset.goto) return { target: anchor.dataset.goto };
  const href = anchor.getAttribute("href") ?? "";
  if (!URL.canParse(href)) return undefined;
  const url = new URL(href);
  const archive = /^\/archives\/(\w+)(?:\/p(\d{10})(\d{6}))?$/.exec(url.pathname);
  if (archive) return { target: archive[1], ts: archive[2] && `${archive[2]}.${archive[3]}`, thread: url.searchParams.get("thread_ts") ?? undefined };
  if (url.protocol !== "slack:") return undefined;
  if (url.hostname === "user") return { user: url.searchParams.get("id") };
  return { target: url.searchParams.get("id"), tab: url.searchParams.get("tab") ?? undefined };
}

/** address is where the address bar says we are; a permalink arrives as a query (?channel=…&message=…). */
function address() {
  const query = new URLSearchParams(location.search);
  if (!query.has("channel")) return parseHash();
  history.replaceState(null, "", location.pathname + formatHash({ target: query.get("channel"), thread: query.get("thread"), ts: query.get("message") }, parseHash().user));
  return parseHash();
}

function parseHash() {
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
  const params = new URLSearchParams(search ?? "");
  const get = (name) => params.get(name) ?? undefined;
  return { target: path || undefined, user: get("user"), thread: get("thread"), tab: get("tab"), ts: get("ts") };
}

function formatHash({ target, thread, tab, ts }, user) {
  const params = new URLSearchParams(Object.entries({ user, tab, thread, ts }).filter(([, value]) => value));
  return `#/${target ?? ""}${params.size ? `?${params}` : ""}`;
}

const app = new App();
app.start(parseHash().user);
