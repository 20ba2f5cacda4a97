// The "markdown" block: the common subset of Markdown that Slack documents
// (headings, emphasis, code, links, lists, tasks, quotes, rules, tables).

import { h, link } from "./dom.js";
import { emoji, knows } from "./emoji.js";
import { pictured } from "./mrkdwn.js";

/** markdown renders a Markdown string as DOM. */
export function markdown(text) {
  const out = document.createDocumentFragment();
  const rows = String(text ?? "").replaceAll("\r\n", "\n").split("\n");
  for (let at = 0; at < rows.length; ) {
    const reader = READERS.find(({ starts }) => starts(rows, at));
    const { node, next } = reader ? reader.read(rows, at) : paragraph(rows, at);
    if (node) out.append(node);
    at = next;
  }
  return out;
}

const FENCE = /^\s*(```+|~~~+)/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const RULE = /^\s*(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,})$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

const READERS = [
  { starts: (rows, at) => rows[at].trim() === "", read: (_, at) => ({ next: at + 1 }) },
  { starts: (rows, at) => FENCE.test(rows[at]), read: fence },
  { starts: (rows, at) => HEADING.test(rows[at]), read: heading },
  { starts: (rows, at) => RULE.test(rows[at]), read: (_, at) => ({ node: h("hr"), next: at + 1 }) },
  { starts: (rows, at) => /^\s*>/.test(rows[at]), read: quote },
  { starts: (rows, at) => ITEM.test(rows[at]), read: list },
  { starts: (rows, at) => rows[at].includes("|") && TABLE_RULE.test(rows[at + 1] ?? ""), read: table },
];

function fence(rows, at) {
  const mark = FENCE.exec(rows[at])[1];
  let end = at + 1;
  while (end < rows.length && !rows[end].trim().startsWith(mark)) end++;
  return { node: h("pre", { class: "code-block" }, rows.slice(at + 1, end).join("\n")), next: end + 1 };
}

function heading(rows, at) {
  const [, marks, text] = HEADING.exec(rows[at]);
  return { node: h("div", { class: `md-heading md-h${marks.length}`, role: "heading", "aria-level": String(Math.min(6, marks.length + 2)) }, spans(text)), next: at + 1 };
}

function quote(rows, at) {
  let end = at;
  while (end < rows.length && /^\s*>/.test(rows[end])) end++;
  const inner = rows.slice(at, end).map((row) => row.replace(/^\s*>\s?/, "")).join("\n");
  return { node: h("blockquote", null, markdown(inner)), next: end };
}

function list(rows, at) {
  const [, indent, mark] = ITEM.exec(rows[at]);
  const ordered = /\d/.test(mark);
  const holder = ordered ? h("ol", { start: Number.parseInt(mark, 10) }) : h("ul");
  let next = at;
  while (next < rows.length) {
    const match = ITEM.exec(rows[next]);
    if (!match || match[1].length < indent.length || (match[1].length < indent.length + 2 && /\d/.test(match[2]) !== ordered)) break;
    if (match[1].length >= indent.length + 2 && holder.lastChild) {
      const nested = list(rows, next);
      holder.lastChild.append(nested.node);
      next = nested.next;
    } else {
      holder.append(item(match[3]));
      next += 1;
    }
  }
  return { node: holder, next };
}

function item(text) {
  const task = /^\[([ xX])\]\s+(.*)$/.exec(text);
  if (!task) return h("li", null, spans(text));
  return h("li", { class: "task" }, h("input", { type: "checkbox", checked: task[1] !== " ", disabled: true, "aria-label": task[2] }), " ", spans(task[2]));
}

function table(rows, at) {
  let end = at + 2;
  while (end < rows.length && rows[end].includes("|")) end++;
  const head = cells(rows[at]).map((cell) => h("th", { scope: "col" }, spans(cell)));
  const body = rows.slice(at + 2, end).map((row) => h("tr", null, cells(row).map((cell) => h("td", null, spans(cell)))));
  return { node: h("div", { class: "table-scroll" }, h("table", null, h("thead", null, h("tr", null, head)), h("tbody", null, body))), next: end };
}

const cells = (row) => row.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.replaceAll("\\|", "|").trim());

function paragraph(rows, at) {
  let end = at + 1;
  while (end < rows.length && !READERS.some(({ starts }) => starts(rows, end))) end++;
  return { node: h("p", null, spans(rows.slice(at, end).join("\n"))), next: end };
}

const SPANS = [
  [/`([^`]+)`/y, (m) => h("code", null, m[1])],
  [/\*\*(?=\S)(.+?\S?)\*\*/y, (m) => h("strong", null, spans(m[1]))],
  [/__(?=\S)(.+?\S?)__/y, (m) => h("strong", null, spans(m[1]))],
  [/~~(?=\S)(.+?)~~/y, (m) => h("s", null, spans(m[1]))],
  [/\*(?=\S)([^*\n]+?)\*/y, (m) => h("em", null, spans(m[1]))],
  [/(?<![\p{L}\p{N}])_(?=\S)([^_\n]+?)_(?![\p{L}\p{N}])/uy, (m) => h("em", null, spans(m[1]))],
  [/!?\[([^\]]*)\]\(([^)\s]+)(?:\s+"[^"]*")?\)/y, (m) => link(m[2], null, spans(m[1]))],
  [/<(https?:[^>\s]+)>/y, (m) => link(m[1], null, m[1])],
  [/https?:\/\/[^\s<>)\]]*[^\s<>)\].,;:!?'"]/y, (m) => link(m[0], null, m[0])],
  [/:([a-z0-9_+'-]+):/y, (m) => (knows(m[1]) ? emoji(m[1]) : null)],
  [/\\([\\`*_{}[\]()#+.!~>|-])/y, (m) => document.createTextNode(m[1])],
];

function spans(text) {
  const out = document.createDocumentFragment();
  let pending = "";
  for (let at = 0; at < text.length; ) {
    const found = spanAt(text, at);
    if (!found) {
      pending += text[at];
      at += 1;
      continue;
    }
    out.append(pictured(pending), found.node);
    pending = "";
    at = found.end;
  }
  out.append(pictured(pending));
  return out;
}

function spanAt(text, at) {
  if (!/[`*_~![<h:\\]/.test(text[at])) return undefined;
  for (const [pattern, build] of SPANS) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    const node = match && build(match);
    if (node) return { node, end: at + match[0].length };
  }
  return undefined;
}
