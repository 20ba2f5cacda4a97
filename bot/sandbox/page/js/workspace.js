// What this page knows of the workspace, kept current by the stream.
//
// load takes GET /client/state; apply takes one stream event and emits what
// changed: "channels", "timeline" {channel, thread, ts, added}, "apps", "home",
// "modal", "toast", "arrival" {channel, message}. It draws nothing.

import { get } from "./api.js";

const timelineKey = (channel, thread) => (thread ? `${channel}/${thread}` : channel);

export class Workspace extends EventTarget {
  constructor() {
    super();
    this.reset();
  }

  reset() {
    this.team = { name: "Sandbox workspace" };
    this.me = "";
    this.users = new Map();
    this.apps = new Map();
    this.channels = new Map();
    this.commands = [];
    this.shortcuts = [];
    this.timelines = new Map();
    this.homes = new Map();
    this.seq = 0;
  }

  /** load replaces everything by what the server says now. */
  load(state) {
    this.reset();
    this.team = state.workspace ?? this.team;
    this.me = state.me;
    this.seq = state.seq ?? 0;
    this.commands = state.commands ?? [];
    this.shortcuts = state.shortcuts ?? [];
    for (const user of state.users ?? []) this.users.set(user.id, user);
    for (const app of state.apps ?? []) this.apps.set(app.id, app);
    for (const channel of state.channels ?? []) this.channels.set(channel.id, channel);
    this.emit("channels");
    this.emit("apps");
  }

  /** timeline fetches a channel's (or a thread's) messages once and returns them oldest first. */
  async timeline(channel, thread) {
    const key = timelineKey(channel, thread);
    if (!this.timelines.has(key)) {
      const loading = { byTs: new Map(), ready: false };
      this.timelines.set(key, loading);
      try {
        const { messages } = await get("messages", { user: this.me, channel, thread_ts: thread });
        // What the stream brought meanwhile is newer than what was read.
        for (const message of messages ?? []) if (!loading.byTs.has(message.ts)) loading.byTs.set(message.ts, message);
        loading.ready = true;
      } catch (error) {
        this.timelines.delete(key);
        throw error;
      }
    }
    return this.messages(channel, thread);
  }

  /** messages returns what is known now, oldest first. */
  messages(channel, thread) {
    const known = this.timelines.get(timelineKey(channel, thread));
    if (!known) return [];
    return [...known.byTs.values()].sort((a, b) => (a.ts < b.ts ? -1 : a.ts > b.ts ? 1 : 0));
  }

  /** find returns one known message. */
  find(channel, ts) {
    for (const [key, { byTs }] of this.timelines) {
      if ((key === channel || key.startsWith(`${channel}/`)) && byTs.has(ts)) return byTs.get(ts);
    }
    return undefined;
  }

  /** apply takes one event of the stream. */
  apply(type, body) {
    switch (type) {
      case "message":
      case "ephemeral":
        return this.addMessage(body.channel, body.message, type === "ephemeral");
      case "message_changed":
        return this.changeMessage(body.channel, body.message);
      case "message_deleted":
        return this.dropMessage(body.channel, body.ts, body.thread_ts);
      case "channel":
        return this.setChannel(body.channel ?? body);
      case "user":
        return this.setUser(body.user ?? body);
      case "presence":
      case "app":
        return this.setPresence(body);
      case "home":
        this.homes.set(body.app, body.view);
        return this.emit("home", body);
      default:
        return this.emit(type, body);
    }
  }

  addMessage(channel, message, ephemeral) {
    if (ephemeral) message.is_ephemeral = true;
    const reply = message.thread_ts && message.thread_ts !== message.ts;
    const isNew = !this.find(channel, message.ts);
    if (reply) {
      this.put(channel, message.thread_ts, message);
      if (!ephemeral) this.countReply(channel, message);
    } else if (message.thread_ts === message.ts) {
      this.put(channel, message.ts, message);
    }
    if (!reply || message.subtype === "thread_broadcast") this.put(channel, undefined, message);
    if (isNew) this.emit("arrival", { channel, message });
  }

  /** countReply keeps a root's reply count right even before the server repeats the root. */
  countReply(channel, reply) {
    const root = this.timelines.get(channel)?.byTs.get(reply.thread_ts);
    if (!root || (root.latest_reply ?? "") >= reply.ts) return;
    const author = reply.user ?? reply.bot_id;
    const users = root.reply_users ?? [];
    this.put(channel, undefined, {
      ...root,
      reply_count: (root.reply_count ?? 0) + 1,
      latest_reply: reply.ts,
      reply_users: users.includes(author) ? users : [...users, author],
    });
  }

  changeMessage(channel, message) {
    const old = this.find(channel, message.ts);
    // An update that carries no thread numbers must not wipe those known.
    const merged = old ? { reply_count: old.reply_count, reply_users: old.reply_users, latest_reply: old.latest_reply, is_ephemeral: old.is_ephemeral, ...message } : message;
    for (const key of this.keysHolding(channel, message.ts)) {
      this.timelines.get(key).byTs.set(message.ts, merged);
      this.emit("timeline", { key, channel, ts: message.ts, changed: true });
    }
  }

  dropMessage(channel, ts) {
    for (const key of this.keysHolding(channel, ts)) {
      this.timelines.get(key).byTs.delete(ts);
      this.emit("timeline", { key, channel, ts });
    }
  }

  keysHolding(channel, ts) {
    return [...this.timelines.keys()].filter((key) => (key === channel || key.startsWith(`${channel}/`)) && this.timelines.get(key).byTs.has(ts));
  }

  put(channel, thread, message) {
    const key = timelineKey(channel, thread);
    const known = this.timelines.get(key);
    if (!known) return;
    const added = !known.byTs.has(message.ts);
    known.byTs.set(message.ts, message);
    this.emit("timeline", { key, channel, ts: message.ts, added, message });
  }

  setChannel(channel) {
    if (!channel?.id) return;
    this.channels.set(channel.id, { ...this.channels.get(channel.id), ...channel });
    this.emit("channels");
  }

  setUser(user) {
    if (!user?.id) return;
    this.users.set(user.id, { ...this.users.get(user.id), ...user });
    this.emit("channels");
  }

  setPresence({ app, ...rest }) {
    const known = this.apps.get(app);
    if (!known) return;
    this.apps.set(app, { ...known, ...rest });
    this.emit("apps");
  }

  markRead(channel) {
    const known = this.channels.get(channel);
    if (!known?.unread) return false;
    this.channels.set(channel, { ...known, unread: 0 });
    this.emit("channels");
    return true;
  }

  /** user returns a user, or a stand-in for one this page has not heard of. */
  user(id) {
    return this.users.get(id) ?? { id: id ?? "", name: id ?? "unknown", real_name: id ?? "Unknown", is_bot: false };
  }

  /** author returns who wrote a message: a user, or the app's bot under the name it chose. */
  author(message) {
    const app = this.apps.get(message.app_id);
    const known = this.users.get(message.user) ?? this.users.get(app?.bot_user_id);
    const base = known ?? { id: message.user ?? message.bot_id ?? "", name: "app", real_name: app?.name ?? "App", is_bot: Boolean(message.bot_id) };
    return message.username ? { ...base, real_name: message.username } : base;
  }

  appOfBot(user) {
    return [...this.apps.values()].find((app) => app.bot_user_id === user);
  }

  /** dmWith returns the id of the direct message with a user, if it exists. */
  dmWith(user) {
    return [...this.channels.values()].find((channel) => channel.is_im && channel.im_user === user)?.id;
  }

  /** title is how a conversation is called in headers and lists. */
  title(channel) {
    if (!channel) return "";
    return channel.is_im ? displayName(this.user(channel.im_user)) : channel.name;
  }

  emit(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }

  on(kind, listener) {
    this.addEventListener(kind, (event) => listener(event.detail));
  }
}

/** displayName is how people are called here: by their full name where it is known. */
export const displayName = (user) => user.real_name || user.display_name || user.name || user.id;
