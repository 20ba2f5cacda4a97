// A list of messages: the channel's timeline or a thread's.
//
// The list is reconciled row by row, so that a live edit touches one message
// and leaves the reader's place, focus and half-made choices alone. It follows
// the newest message only while the reader is at the bottom.

import { blocks } from "./blocks.js";
import { add, h, spend } from "./dom.js";
import { emoji } from "./emoji.js";
import { avatar, icon } from "./icons.js";
import { mrkdwn, plain, textObject } from "./mrkdwn.js";
import * as popup from "./popup.js";
import { ago, clock, compactClock, dateOf, dayKey, dayLabel, fullTime } from "./times.js";
import { displayName } from "./workspace.js";

const GROUP_SECONDS = 300;
const NEAR_BOTTOM = 48;

export class MessageList {
  /** app is the page (see main.js); thread says which of the two lists this is. */
  constructor(app, { thread = false, label }) {
    this.app = app;
    this.isThread = thread;
    this.rows = new Map();
    this.log = h("div", { class: "log", role: "log", "aria-label": label, "aria-live": "polite", "aria-relevant": "additions text" });
    this.scroller = h("div", { class: "scroller", onscroll: () => this.scrolled(), onkeydown: (event) => this.key(event) }, this.log);
    this.pill = h("button", { class: "new-pill", type: "button", hidden: true, onclick: () => this.toBottom(true) }, icon("arrowDown", 14), h("span", null, "New messages"));
    this.element = h("div", { class: "message-list" }, this.scroller, this.pill);
    this.stuck = true;
    this.lastTop = 0;
    const watcher = new ResizeObserver(() => this.follows() && this.toBottom());
    watcher.observe(this.log);
    watcher.observe(this.scroller);
    this.log.addEventListener("pointerover", (event) => this.offerTools(event.target));
    this.log.addEventListener("focusin", (event) => this.offerTools(event.target));
  }

  /** show turns to another conversation. unread is how many of its last messages are new to this user. */
  async show(channel, thread, unread = 0) {
    Object.assign(this, { channel, thread, boundary: undefined, stuck: true, failed: undefined });
    this.rows.clear();
    this.log.replaceChildren();
    this.pill.hidden = true;
    this.sync();
    try {
      await this.app.workspace.timeline(channel, thread);
    } catch (error) {
      this.failed = error.message;
    }
    if (this.channel !== channel || this.thread !== thread) return;
    this.loaded = true;
    this.markNew(unread);
    this.sync();
    this.toBottom();
  }

  /** markNew puts the "New" line before the last so many messages of others. */
  markNew(unread) {
    if (!unread || this.isThread) return;
    const others = this.messages().filter((message) => message.user !== this.app.workspace.me && !message.is_ephemeral);
    this.boundary = others.at(-unread)?.ts ?? others[0]?.ts;
  }

  messages() {
    return this.app.workspace.messages(this.channel, this.thread);
  }

  /** changed reacts to a timeline event of this list. */
  changed({ added, message }) {
    const mine = message?.user === this.app.workspace.me;
    const following = this.follows() || mine;
    if (added && mine) this.boundary = undefined;
    if (added && !mine && !this.boundary && !this.isThread && (!following || document.hidden)) this.boundary = message.ts;
    this.sync();
    if (following) this.toBottom();
    else if (added) this.pill.hidden = false;
  }

  /** sync makes the rows on screen equal to what is known. */
  sync() {
    const wanted = this.plan();
    const keys = new Set(wanted.map((row) => row.key));
    for (const [key, { element }] of this.rows) {
      if (keys.has(key)) continue;
      element.remove();
      this.rows.delete(key);
    }
    let before = this.log.firstChild;
    for (const row of wanted) {
      const element = this.draw(row);
      if (element === before) before = before.nextSibling;
      else this.log.insertBefore(element, before);
    }
    this.keepTabStop();
  }

  draw(row) {
    const known = this.rows.get(row.key);
    if (known?.signature === row.signature) return known.element;
    if (!known) {
      const element = row.build();
      this.rows.set(row.key, { element, signature: row.signature, contents: row.contents });
      return element;
    }
    const fresh = row.build();
    swap(known.element, fresh, row.contents !== known.contents);
    Object.assign(known, { signature: row.signature, contents: row.contents });
    return known.element;
  }

  /** plan lists the rows: an introduction, day lines, the "New" line, messages. */
  plan() {
    const messages = this.messages();
    const rows = [];
    if (this.failed) rows.push({ key: "failed", signature: this.failed, build: () => h("div", { class: "list-note is-error", role: "alert" }, this.failed) });
    if (!this.isThread) rows.push(this.intro());
    let previous;
    messages.forEach((message, index) => {
      if (!this.isThread && (!previous || dayKey(previous.ts) !== dayKey(message.ts))) {
        rows.push(dayRow(message.ts));
        previous = undefined;
      }
      if (message.ts === this.boundary) {
        rows.push(newRow());
        previous = undefined;
      }
      const compact = !(this.isThread && index <= 1) && continues(previous, message);
      rows.push(this.messageRow(message, compact));
      if (this.isThread && index === 0) rows.push(this.replyCountRow(messages.length - 1));
      previous = message;
    });
    return rows;
  }

  intro() {
    const { workspace } = this.app;
    const channel = workspace.channels.get(this.channel);
    return { key: "intro", signature: JSON.stringify([channel?.name, channel?.topic, channel?.im_user]), build: () => introduction(channel, workspace) };
  }

  replyCountRow(count) {
    const text = count === 0 ? "No replies yet" : `${count} ${count === 1 ? "reply" : "replies"}`;
    return { key: "reply-count", signature: text, build: () => h("div", { class: "reply-count" }, h("span", null, text)) };
  }

  messageRow(message, compact) {
    const fresh = this.app.hasNewReplies(this.channel, message);
    const contents = JSON.stringify([message.text, message.blocks, message.attachments]);
    return { key: message.ts, contents, signature: JSON.stringify([message, compact, fresh, this.app.workspace.me]), build: () => this.article(message, compact, fresh) };
  }

  article(message, compact, fresh) {
    const { workspace } = this.app;
    const author = workspace.author(message);
    const system = ["channel_join", "channel_leave", "channel_topic", "channel_purpose"].includes(message.subtype);
    const article = h(
      "article",
      {
        class: ["message", compact && "is-compact", message.is_ephemeral && "is-ephemeral", system && "is-system"].filter(Boolean).join(" "),
        tabIndex: -1,
        data: { ts: message.ts, channel: this.channel, author: author.id, threadTs: message.thread_ts },
        "aria-label": `${displayName(author)}, ${clock(dateOf(message.ts))}${message.is_ephemeral ? ", only visible to you" : ""}`,
      },
      h("div", { class: "gutter" }, compact ? h("span", { class: "gutter-time", title: fullTime(message.ts) }, compactClock(message.ts)) : avatar(author)),
      h("div", { class: "message-main" }, message.is_ephemeral ? ephemeralMark() : null, compact ? null : heading(author, message), this.body(message), this.reactions(message), this.isThread ? null : this.replyBar(message, fresh)),
    );
    return article;
  }

  body(message) {
    const { workspace } = this.app;
    const context = this.app.interactions.messageContext(this.channel, message);
    const body = h("div", { class: "message-body" });
    if (message.blocks?.length) add(body, blocks(message.blocks, context));
    else if (message.text) add(body, h("div", { class: "message-text" }, mrkdwn(message.text, workspace)));
    for (const attachment of message.attachments ?? []) add(body, attached(attachment, context));
    for (const file of message.files ?? []) add(body, h("div", { class: "file-box" }, icon("copy"), file.title ?? file.name ?? "File"));
    if (message.edited) markEdited(body, message.edited);
    return body;
  }

  reactions(message) {
    if (!message.reactions?.length) return null;
    const { me } = this.app.workspace;
    return h(
      "div",
      { class: "reactions" },
      message.reactions.map((reaction) => {
        const mine = (reaction.users ?? []).includes(me);
        const names = (reaction.users ?? []).map((id) => displayName(this.app.workspace.user(id))).join(", ");
        return h("button", { type: "button", class: "reaction", "aria-pressed": String(mine), title: `${names} reacted with :${reaction.name}:`, data: { reaction: reaction.name }, onclick: () => this.app.react(this.channel, message.ts, reaction.name) }, emoji(reaction.name), h("span", null, String(reaction.count ?? reaction.users?.length ?? 1)));
      }),
    );
  }

  replyBar(message, fresh) {
    if (!message.reply_count) return null;
    const { workspace } = this.app;
    const faces = (message.reply_users ?? []).slice(0, 4).map((id) => avatar(workspace.author({ user: id, bot_id: workspace.users.has(id) ? undefined : id }), 22));
    return h(
      "button",
      { class: `reply-bar${fresh ? " has-new" : ""}`, type: "button", data: { openThread: message.ts }, onclick: () => this.app.openThread(this.channel, message.ts) },
      h("span", { class: "reply-faces" }, faces),
      h("span", { class: "reply-bar-count" }, `${message.reply_count} ${message.reply_count === 1 ? "reply" : "replies"}`),
      fresh ? h("span", { class: "reply-bar-new" }, "New") : null,
      message.latest_reply ? h("span", { class: "reply-bar-when" }, `Last reply ${ago(message.latest_reply)}`) : null,
      h("span", { class: "reply-bar-go" }, "View thread", icon("right", 14)),
    );
  }

  // Tools appear on the message under the pointer or the focus: one toolbar, moved about.

  offerTools(target) {
    const article = target.closest?.("article.message");
    if (!article || article.querySelector(":scope > .tools")) return;
    const message = this.app.workspace.find(this.channel, article.dataset.ts);
    if (!message) return;
    this.log.querySelector(".tools")?.remove();
    article.append(this.tools(message));
  }

  tools(message) {
    const tool = (name, label, run, data) => h("button", { class: "icon-button", type: "button", "aria-label": label, title: label, data, onclick: run }, name.startsWith(":") ? emoji(name.slice(1)) : icon(name));
    const reactions = message.is_ephemeral ? [] : ["white_check_mark", "eyes", "+1"].map((name) => tool(`:${name}`, `React with :${name}:`, () => this.app.react(this.channel, message.ts, name), { react: name }));
    const reply = this.isThread || message.is_ephemeral ? null : tool("reply", "Reply in thread", () => this.app.openThread(this.channel, message.thread_ts ?? message.ts, { focus: true }), { tool: "reply" });
    const more = h("button", { class: "icon-button", type: "button", "aria-label": "More actions", title: "More actions", "aria-haspopup": "menu", "aria-expanded": "false", data: { tool: "more" }, onclick: (event) => this.openMore(event.currentTarget, message) }, icon("more"));
    return h("div", { class: "tools", role: "toolbar", "aria-label": "Message actions" }, reactions, reply, more);
  }

  openMore(anchor, message) {
    const { app } = this;
    const shortcuts = app.workspace.shortcuts.filter((shortcut) => shortcut.type === "message" && !message.is_ephemeral);
    const options = [
      ...shortcuts.map((shortcut) => ({ text: shortcut.name, value: shortcut.callback_id, icon: icon("bolt", 16), run: () => app.shortcut(shortcut, this.channel, message.ts) })),
      { text: "Copy link to message", value: "copy-link", icon: icon("link", 16), run: () => app.copy(app.permalink(this.channel, message.ts), "Link copied") },
      { text: "Copy text", value: "copy-text", icon: icon("copy", 16), run: () => app.copy(message.text ?? "", "Text copied") },
    ];
    popup.openList({ anchor, label: "More actions", menu: true, filter: false, options, choose: (option) => option.run() });
  }

  // Moving through messages by keyboard: one tab stop, arrows from there.

  keepTabStop() {
    const articles = [...this.log.querySelectorAll("article.message")];
    if (!articles.some((article) => article.tabIndex === 0) && articles.length) articles.at(-1).tabIndex = 0;
  }

  key(event) {
    const article = event.target;
    if (!article.matches?.("article.message")) return;
    const articles = [...this.log.querySelectorAll("article.message")];
    const at = articles.indexOf(article);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: articles.length - 1 }[event.key];
    if (to !== undefined) {
      spend(event);
      this.focusArticle(articles[Math.max(0, Math.min(to, articles.length - 1))]);
    } else if ((event.key === "ArrowRight" || event.key === "t") && !this.isThread && !event.ctrlKey && !event.metaKey) {
      spend(event);
      this.app.openThread(this.channel, article.dataset.threadTs ?? article.dataset.ts, { focus: true });
    }
  }

  focusArticle(article) {
    if (!article) return;
    for (const other of this.log.querySelectorAll("article.message[tabindex='0']")) other.tabIndex = -1;
    article.tabIndex = 0;
    article.focus();
    article.scrollIntoView({ block: "nearest" });
  }

  /** reveal scrolls to a message and points it out. */
  reveal(ts) {
    const article = this.log.querySelector(`article[data-ts="${CSS.escape(ts)}"]`);
    if (!article) return;
    this.stuck = false;
    article.scrollIntoView({ block: "center" });
    article.classList.remove("flash");
    void article.offsetWidth;
    article.classList.add("flash");
  }

  /** follows says whether the reader stays at the newest message; the scroll event may still be on its way. */
  follows() {
    const { scrollTop } = this.scroller;
    if (scrollTop < this.lastTop - NEAR_BOTTOM && this.fromBottom() > NEAR_BOTTOM) this.stuck = false;
    return this.stuck;
  }

  fromBottom() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  scrolled() {
    const { scrollTop } = this.scroller;
    // Only going up is leaving; content that grows below is not.
    if (this.fromBottom() < NEAR_BOTTOM) this.stuck = true;
    else if (scrollTop < this.lastTop) this.stuck = false;
    this.lastTop = scrollTop;
    if (!this.stuck) return;
    this.pill.hidden = true;
    this.app.seen(this.channel);
  }

  toBottom(smooth = false) {
    this.stuck = true;
    this.pill.hidden = true;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior: smooth && !calm ? "smooth" : "instant" });
    this.lastTop = this.scroller.scrollTop;
  }
}

/** swap replaces a row's content in place, keeping focus on the same control. */
function swap(old, fresh, flash) {
  const focus = old.contains(document.activeElement) ? document.activeElement : null;
  const { actionId, blockId } = focus?.dataset ?? {};
  popup.closeWithin(old);
  const tab = old.tabIndex;
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of [...fresh.attributes]) old.setAttribute(name, value);
  old.replaceChildren(...fresh.childNodes);
  if (old.matches("article")) old.tabIndex = tab;
  if (flash && old.matches("article")) old.classList.add("flash");
  if (!focus) return;
  const same = actionId && old.querySelector(`[data-action-id="${CSS.escape(actionId)}"][data-block-id="${CSS.escape(blockId ?? "")}"]`);
  (same || old).focus({ preventScroll: true });
}

function continues(previous, message) {
  if (!previous || previous.subtype === "channel_join" || message.subtype === "channel_join") return false;
  if (message.blocks?.[0]?.type === "header") return false; // a card of its own
  const same = (previous.user ?? previous.bot_id) === (message.user ?? message.bot_id) && previous.username === message.username;
  const soon = Number.parseFloat(message.ts) - Number.parseFloat(previous.ts) < GROUP_SECONDS;
  return same && soon && Boolean(previous.is_ephemeral) === Boolean(message.is_ephemeral);
}

const dayRow = (ts) => ({ key: `day ${dayKey(ts)}`, signature: dayLabel(ts), build: () => h("div", { class: "day", role: "separator", "aria-label": dayLabel(ts) }, h("span", null, dayLabel(ts))) });
const newRow = () => ({ key: "new", signature: "new", build: () => h("div", { class: "new-line", role: "separator", "aria-label": "New messages" }, h("span", null, "New")) });
const ephemeralMark = () => h("div", { class: "ephemeral-mark" }, icon("eye", 14), "Only visible to you");

function heading(author, message) {
  const time = h("time", { class: "message-time", title: fullTime(message.ts), datetime: dateOf(message.ts).toISOString() }, clock(dateOf(message.ts)));
  return h("div", { class: "message-head" }, h("span", { class: "message-author" }, displayName(author)), author.is_bot ? h("span", { class: "badge" }, "APP") : null, time);
}

function markEdited(body, edited) {
  const mark = h("span", { class: "edited", title: edited.ts ? fullTime(edited.ts) : undefined }, "(edited)");
  const last = body.querySelector(".message-text:last-child > .line:last-child") ?? body.querySelector(".message-text:last-child");
  if (last && body.lastElementChild.contains(last)) last.append(" ", mark);
  else body.append(mark);
}

// Legacy attachments: a coloured bar beside text or blocks.
function attached(attachment, context) {
  const color = { good: "#2ba56a", warning: "#f2b632", danger: "#e0364f" }[attachment.color] ?? (/^#?[0-9a-f]{6}$/i.test(attachment.color ?? "") ? `#${attachment.color.replace("#", "")}` : undefined);
  const fields = (attachment.fields ?? []).map((field) => h("div", { class: "section-field" }, h("strong", null, plain(field.title)), h("div", null, mrkdwn(field.value, context.workspace))));
  return h(
    "div",
    { class: "attachment", style: color ? { borderLeftColor: color } : undefined },
    attachment.pretext ? h("div", null, mrkdwn(attachment.pretext, context.workspace)) : null,
    attachment.title ? h("strong", null, plain(attachment.title)) : null,
    attachment.blocks ? blocks(attachment.blocks, context) : h("div", null, mrkdwn(attachment.text ?? attachment.fallback ?? "", context.workspace)),
    fields.length ? h("div", { class: "section-fields" }, fields) : null,
    attachment.footer ? h("div", { class: "block-context" }, textObject({ type: "mrkdwn", text: attachment.footer }, context.workspace)) : null,
  );
}

function introduction(channel, workspace) {
  if (!channel) return h("div", { class: "intro" });
  if (!channel.is_im) {
    return h("div", { class: "intro" }, h("div", { class: "intro-mark" }, icon(channel.is_private ? "lock" : "hash", 26)), h("h2", null, channel.name), h("p", null, channel.topic ? plain(channel.topic) : `This is the very beginning of the #${channel.name} channel.`));
  }
  const other = workspace.user(channel.im_user);
  const app = workspace.appOfBot(channel.im_user);
  const words = app?.description || (other.id === workspace.me ? "This is your own space: notes, drafts, and anything you want to try." : `This is the start of your direct messages with ${displayName(other)}.`);
  return h("div", { class: "intro" }, avatar(other, 56), h("h2", null, displayName(other), other.title && !app ? h("span", { class: "intro-title" }, other.title) : null), h("p", null, plain(words)));
}
