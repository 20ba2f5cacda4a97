// Slack's mrkdwn as DOM: *bold* _italic_ ~strike~ `code` ```pre``` > quote,
// bullets, <url|label>, <@U…>, <#C…|name>, <!here>, <!date^…>, :emoji:.
//
// A hand-written scanner rather than regular expressions over markup: what it
// does not recognise stays text, and text only ever becomes text nodes.

import { h, link, safeHref } from "./dom.js";
import { EMOJI_RUN, emoji, knows, picture } from "./emoji.js";
import { slackDate } from "./times.js";
import { displayName } from "./workspace.js";

/** mrkdwn renders a mrkdwn string. options.verbatim leaves bare addresses alone. */
export function mrkdwn(text, workspace, options = {}) {
  const scope = { workspace, verbatim: Boolean(options.verbatim), depth: 0 };
  const out = document.createDocumentFragment();
  const pieces = String(text ?? "").split(/```\n?([\s\S]*?)\n?```/);
  pieces.forEach((piece, index) => {
    if (index % 2 === 1) out.append(h("pre", { class: "code-block" }, literal(piece, scope)));
    else if (piece) out.append(lines(trimAround(piece, index, pieces.length), scope));
  });
  return out;
}

/** plain renders a plain_text string: emoji and nothing else. Unlike mrkdwn it holds no entities. */
export function plain(text, useEmoji = true) {
  const out = document.createDocumentFragment();
  const source = String(text ?? "");
  if (!useEmoji) {
    out.append(source);
    return out;
  }
  let from = 0;
  for (const match of source.matchAll(/:([a-z0-9_+'-]+):/g)) {
    if (!knows(match[1])) continue;
    out.append(pictured(source.slice(from, match.index)), emoji(match[1]));
    from = match.index + match[0].length;
  }
  out.append(pictured(source.slice(from)));
  return out;
}

/** textObject renders a Block Kit text object. */
export function textObject(object, workspace) {
  if (!object) return document.createDocumentFragment();
  return object.type === "mrkdwn" ? mrkdwn(object.text, workspace, { verbatim: object.verbatim }) : plain(object.text, object.emoji !== false);
}

/** decode turns the three entities that Slack escapes back into characters. */
export const decode = (text) => text.replace(/&(amp|lt|gt);/g, (_, name) => ({ amp: "&", lt: "<", gt: ">" })[name]);

/** mention draws a user's name as a chip. */
export function mention(id, workspace, label) {
  const known = workspace.users.get(id);
  const name = known ? displayName(known) : label || id;
  return h("span", { class: `mention${id === workspace.me ? " mention-me" : ""}`, data: { mention: id } }, `@${name}`);
}

/** channelMention draws a channel's name, and leads there when this user can see it. */
export function channelMention(id, workspace, label) {
  const known = workspace.channels.get(id);
  const name = `#${known?.name ?? label ?? id}`;
  if (!known) return h("span", { class: "mention" }, name);
  return h("a", { class: "mention", href: `#/${id}`, data: { goto: id } }, name);
}

/** broadcast draws @here, @channel, @everyone: highlighted, and otherwise inert. */
export const broadcast = (range) => h("span", { class: "mention mention-broadcast", data: { broadcast: range } }, `@${range}`);

/** code draws an inline code span. */
export const code = (...children) => h("code", null, children);

// A fenced block stands on its own lines, so the newline beside it is not text.
function trimAround(piece, index, count) {
  let text = piece;
  if (index > 0) text = text.replace(/^ ?\n?/, "");
  if (index < count - 1) text = text.replace(/\n$/, "");
  return text;
}

const QUOTE = /^(?:>|&gt;)\s?/;
const BULLET = /^(\s*)([•◦▪‣–-]|\d{1,3}[.)])\s+(?=\S)/;

function lines(text, scope) {
  const rows = text.split("\n");
  const out = document.createDocumentFragment();
  if (rows.length === 1 && !QUOTE.test(text) && !BULLET.test(text)) {
    out.append(inline(text, scope));
    return out;
  }
  for (let i = 0; i < rows.length; i++) {
    if (!QUOTE.test(rows[i])) {
      out.append(row(rows[i], scope));
      continue;
    }
    const whole = /^(?:>>>|&gt;&gt;&gt;)/.test(rows[i]);
    let end = i + 1;
    while (end < rows.length && (whole || QUOTE.test(rows[end]))) end++;
    const quoted = whole ? [rows[i].replace(/^(?:>>>|&gt;&gt;&gt;)\s?/, ""), ...rows.slice(i + 1, end)] : rows.slice(i, end).map((line) => line.replace(QUOTE, ""));
    out.append(h("blockquote", null, quoted.map((line) => row(line, scope))));
    i = end - 1;
  }
  return out;
}

function row(text, scope) {
  const bullet = BULLET.exec(text);
  if (!bullet) return h("div", { class: "line" }, inline(text, scope));
  const [lead, indent, mark] = bullet;
  const level = Math.min(3, Math.floor(indent.length / 2));
  return h("div", { class: `line bullet level-${level}` }, h("span", { class: "bullet-mark" }, mark, " "), h("span", { class: "bullet-text" }, inline(text.slice(lead.length), scope)));
}

const MARKS = { "*": "strong", _: "em", "~": "s" };
const TOKEN = /<([^<>\n]+)>/y;
const CODE = /`([^`\n]+)`/y;
const SHORTCODE = /:([a-z0-9_+'-]+(?:::skin-tone-\d)?):/y;
const ADDRESS = /https?:\/\/[^\s<>|"]+/y;

function inline(text, scope) {
  const out = document.createDocumentFragment();
  let pending = "";
  const flush = () => {
    if (pending) out.append(pictured(decode(pending)));
    pending = "";
  };
  for (let at = 0; at < text.length; ) {
    const found = scan(text, at, scope);
    if (found) {
      flush();
      out.append(found.node);
      at = found.end;
    } else {
      pending += text[at];
      at += 1;
    }
  }
  flush();
  return out;
}

/** scan returns the construct that starts at a position, or undefined. */
function scan(text, at, scope) {
  switch (text[at]) {
    case "<":
      return take(TOKEN, text, at, (match) => angle(match[1], scope));
    case "`":
      return take(CODE, text, at, (match) => code(literal(match[1], scope)));
    case ":":
      return take(SHORTCODE, text, at, (match) => (knows(match[1].replace(/::.*/, "")) ? emoji(match[1]) : null));
    case "*":
    case "_":
    case "~":
      return marked(text, at, scope);
    case "h":
      return scope.verbatim || wordAt(text, at - 1) ? undefined : bareAddress(text, at);
    default:
      return undefined;
  }
}

function take(pattern, text, at, build) {
  pattern.lastIndex = at;
  const match = pattern.exec(text);
  const node = match && build(match);
  return node ? { node, end: at + match[0].length } : undefined;
}

const wordAt = (text, at) => at >= 0 && at < text.length && /[\p{L}\p{N}]/u.test(text[at]);
const spaceAt = (text, at) => at < 0 || at >= text.length || /\s/.test(text[at]);

function marked(text, at, scope) {
  const mark = text[at];
  if (scope.depth > 6 || wordAt(text, at - 1) || spaceAt(text, at + 1) || text[at + 1] === mark) return undefined;
  const end = closing(text, at, mark);
  if (end < 0) return undefined;
  const inner = inline(text.slice(at + 1, end), { ...scope, depth: scope.depth + 1 });
  return { node: h(MARKS[mark], null, inner), end: end + 1 };
}

/** closing finds the mark that ends a run, stepping over links and code. */
function closing(text, from, mark) {
  for (let at = from + 1; at < text.length; at++) {
    const skip = text[at] === "<" ? TOKEN : text[at] === "`" ? CODE : null;
    if (skip) {
      skip.lastIndex = at;
      const match = skip.exec(text);
      if (match) at += match[0].length - 1;
    } else if (text[at] === mark && !spaceAt(text, at - 1) && !wordAt(text, at + 1) && text[at + 1] !== mark) {
      return at;
    }
  }
  return -1;
}

function bareAddress(text, at) {
  return take(ADDRESS, text, at, (match) => {
    const address = match[0].replace(/(?:&gt;|&lt;)[\s\S]*$/, "").replace(/[.,;:!?)\]'*_~]+$/, "");
    match[0] = address;
    return safeHref(decode(address)) ? link(decode(address), null, decode(address)) : null;
  });
}

/** angle renders the inside of <…>; what is not known or not allowed is shown as written. */
function angle(body, scope) {
  const [target, label] = cut(body, "|");
  if (target.startsWith("@")) return mention(target.slice(1), scope.workspace, label);
  if (target.startsWith("#")) return channelMention(target.slice(1), scope.workspace, label);
  if (target.startsWith("!")) return special(target.slice(1), label, scope);
  const address = decode(target);
  if (!safeHref(address)) return document.createTextNode(decode(`<${body}>`));
  const shown = label ?? address.replace(/^mailto:/, "");
  return link(address, null, label ? inline(shown, { ...scope, verbatim: true, depth: scope.depth + 1 }) : shown);
}

function special(target, label, scope) {
  if (["here", "channel", "everyone"].includes(target)) return broadcast(target);
  if (target.startsWith("subteam^")) return h("span", { class: "mention" }, label ? decode(label) : `@${target.slice(8)}`);
  if (target.startsWith("date^")) return dateToken(target, label, scope);
  return document.createTextNode(decode(label ?? `<!${target}>`));
}

function dateToken(target, fallback) {
  const [, seconds, template = "{date}", address] = target.split("^");
  const when = Number(seconds);
  const text = Number.isFinite(when) && seconds !== "" ? slackDate(when, decode(template)) : decode(fallback ?? template);
  const time = h("time", { title: Number.isFinite(when) ? new Date(when * 1000).toString() : undefined }, text);
  return address && safeHref(decode(address)) ? link(decode(address), null, time) : time;
}

// Inside code, links and mentions are resolved but nothing is formatted.
function literal(text, scope) {
  const out = document.createDocumentFragment();
  let from = 0;
  for (const match of text.matchAll(/<([^<>\n]+)>/g)) {
    out.append(decode(text.slice(from, match.index)), angle(match[1], { ...scope, depth: 9 }));
    from = match.index + match[0].length;
  }
  out.append(decode(text.slice(from)));
  return out;
}

/** pictured turns emoji characters in literal text into drawings. */
export function pictured(text) {
  const out = document.createDocumentFragment();
  let from = 0;
  for (const match of text.matchAll(EMOJI_RUN)) {
    if (/^[\d#*©®™]/.test(match[0])) continue;
    out.append(text.slice(from, match.index), picture(match[0]));
    from = match.index + match[0].length;
  }
  out.append(text.slice(from));
  return out;
}

function cut(text, separator) {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
