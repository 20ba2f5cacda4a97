// rich_text blocks: sections, lists, quotes, preformatted text, and their leaves.

import { h, link } from "./dom.js";
import { emoji, picture, knows } from "./emoji.js";
import { broadcast, channelMention, mention, pictured } from "./mrkdwn.js";
import { slackDate } from "./times.js";

/** richText renders the elements of a rich_text block. */
export function richText(elements, workspace) {
  const out = document.createDocumentFragment();
  for (const element of elements ?? []) out.append(part(element, workspace));
  return out;
}

function part(element, workspace) {
  switch (element.type) {
    case "rich_text_section":
      return h("div", { class: "rich-section" }, leaves(element.elements, workspace));
    case "rich_text_quote":
      return h("blockquote", null, leaves(element.elements, workspace));
    case "rich_text_preformatted":
      return h("pre", { class: "code-block" }, leaves(element.elements, workspace));
    case "rich_text_list":
      return list(element, workspace);
    default:
      return h("div", { class: "unsupported" }, `unsupported rich text “${element.type}”`);
  }
}

function list(element, workspace) {
  const items = (element.elements ?? []).map((item) => h("li", null, leaves(item.elements, workspace)));
  const level = Math.min(8, Math.max(0, element.indent ?? 0));
  const holder = element.style === "ordered" ? h("ol", { start: (element.offset ?? 0) + 1 }, items) : h("ul", null, items);
  holder.classList.add("rich-list", `indent-${level}`);
  return holder;
}

const leaves = (elements, workspace) => (elements ?? []).map((leaf) => styled(leafNode(leaf, workspace), leaf.style));

function leafNode(leaf, workspace) {
  switch (leaf.type) {
    case "text":
      return leaf.style?.code ? document.createTextNode(leaf.text ?? "") : pictured(leaf.text ?? "");
    case "link":
      return link(leaf.url, null, leaf.text || leaf.url);
    case "user":
      return mention(leaf.user_id, workspace);
    case "channel":
      return channelMention(leaf.channel_id, workspace);
    case "usergroup":
      return h("span", { class: "mention" }, `@${leaf.usergroup_id}`);
    case "broadcast":
      return broadcast(leaf.range);
    case "emoji":
      return emojiLeaf(leaf);
    case "date":
      return h("time", null, slackDate(leaf.timestamp, leaf.format ?? "{date}"));
    case "color":
      return h("code", null, leaf.value);
    default:
      return document.createTextNode(leaf.text ?? leaf.fallback ?? "");
  }
}

function emojiLeaf(leaf) {
  if (knows(leaf.name) || !leaf.unicode) return emoji(leaf.name ?? "");
  const points = leaf.unicode.split("-").map((hex) => Number.parseInt(hex, 16));
  return points.every((point) => point > 0 && point <= 0x10ffff) ? picture(String.fromCodePoint(...points), `:${leaf.name}:`) : emoji(leaf.name ?? "");
}

function styled(node, style) {
  let out = node;
  if (style?.code) out = h("code", null, out);
  if (style?.bold) out = h("strong", null, out);
  if (style?.italic) out = h("em", null, out);
  if (style?.strike) out = h("s", null, out);
  if (style?.underline) out = h("u", null, out);
  return out;
}
