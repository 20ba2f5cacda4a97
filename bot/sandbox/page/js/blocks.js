// Block Kit blocks as DOM. What is not supported says so in a quiet box
// instead of vanishing.

import { control } from "./controls.js";
import { freshId, h, safeImage } from "./dom.js";
import { icon } from "./icons.js";
import { markdown } from "./markdown.js";
import { mrkdwn, plain, textObject } from "./mrkdwn.js";
import { richText } from "./richtext.js";

/** blocks renders a list of blocks for a surface's context (see controls.js). */
export function blocks(list, context) {
  return h("div", { class: "blocks" }, (list ?? []).map((each, index) => block({ ...each, block_id: each.block_id || `block-${index}` }, context)));
}

const KINDS = {
  header: (each) => h("div", { class: `block-header level-${each.level ?? 1}`, role: "heading", "aria-level": "3" }, plain(each.text?.text, each.text?.emoji !== false)),
  section,
  context: contextBlock,
  divider: () => h("hr", { class: "block-divider" }),
  actions: (each, context) => h("div", { class: "block-actions" }, (each.elements ?? []).map((element) => control(element, each, context) ?? unsupported(element.type, "element"))),
  image: (each) => image(each),
  input,
  rich_text: (each, context) => h("div", { class: "block-rich" }, richText(each.elements, context.workspace)),
  markdown: (each) => h("div", { class: "block-markdown" }, markdown(each.text)),
  table,
  alert: (each, context) => h("div", { class: `block-alert level-${each.level ?? "info"}`, role: "note" }, textObject(each.text, context.workspace)),
  file: (each) => h("div", { class: "file-box" }, icon("copy"), each.external_id ?? "File"),
};

function block(each, context) {
  const draw = KINDS[each?.type];
  const node = draw ? draw(each, context) : unsupported(each?.type, "block");
  node.classList.add("block");
  node.dataset.blockId = each.block_id;
  node.dataset.blockType = each.type ?? "";
  return node;
}

const unsupported = (type, what) => h("div", { class: "unsupported" }, `unsupported ${what} “${type ?? "without a type"}”`);

function section(each, context) {
  const body = h("div", { class: "section-body" }, each.text ? h("div", { class: "section-text" }, textObject(each.text, context.workspace)) : null, each.fields ? h("div", { class: "section-fields" }, each.fields.map((field) => h("div", { class: "section-field" }, textObject(field, context.workspace)))) : null);
  return h("div", { class: "block-section" }, body, each.accessory ? h("div", { class: `accessory accessory-${each.accessory.type}` }, accessory(each, context)) : null);
}

function accessory(each, context) {
  if (each.accessory.type === "image") return image(each.accessory, "image-small");
  return control(each.accessory, each, context) ?? unsupported(each.accessory.type, "element");
}

function contextBlock(each, context) {
  const parts = (each.elements ?? []).map((element) => (element.type === "image" ? image(element, "image-tiny") : h("span", { class: "context-text" }, textObject(element, context.workspace))));
  return h("div", { class: "block-context" }, parts);
}

// Nothing is loaded from outside: a picture that lives elsewhere is its description.
function image(each, size = "") {
  const source = safeImage(each.image_url ?? each.slack_file?.url);
  const alt = each.alt_text ?? "";
  const shown = source ? h("img", { src: source, alt, loading: "lazy" }) : h("span", { class: "image-box", role: "img", "aria-label": alt || "Image", title: "Pictures from outside are not loaded here" }, icon("image", size === "image-tiny" ? 14 : 18), size ? null : h("span", null, alt || "Image"));
  if (size) return h("span", { class: `block-image ${size}` }, shown);
  return h("figure", { class: "block-image" }, each.title ? h("figcaption", null, textObject(each.title)) : null, shown);
}

function input(each, context) {
  const ids = { label: freshId("label"), control: freshId("control"), hint: freshId("hint"), error: freshId("error") };
  const group = ["radio_buttons", "checkboxes"].includes(each.element?.type);
  const error = context.errors?.[each.block_id];
  const label = [plain(each.label?.text), each.optional ? h("span", { class: "optional" }, " (optional)") : null];
  const drawn = control(each.element, each, context, { inInput: true, describedBy: [each.hint && ids.hint, error && ids.error].filter(Boolean).join(" ") || undefined }) ?? unsupported(each.element?.type, "element");
  name(drawn, ids, Boolean(error), !each.optional);
  return h(
    "div",
    { class: `block-input${error ? " has-error" : ""}` },
    h(group ? "div" : "label", { class: "input-label", id: ids.label, for: group ? undefined : ids.control }, label),
    drawn,
    error ? h("div", { class: "input-error", id: ids.error, role: "alert" }, error) : null,
    each.hint ? h("div", { class: "input-hint", id: ids.hint }, plain(each.hint.text)) : null,
  );
}

/** name ties a control to its label and its error. */
function name(drawn, ids, invalid, required) {
  const target = drawn.matches("input, textarea, button, [role]") ? drawn : drawn.querySelector("button.select");
  if (!target) return;
  target.id = ids.control;
  target.removeAttribute("aria-label");
  // A select's own text is its value, so the name is the label and then the value.
  if (target.matches("button")) target.setAttribute("aria-labelledby", `${ids.label} ${ids.control}`);
  else target.setAttribute("aria-labelledby", ids.label);
  if (invalid) target.setAttribute("aria-invalid", "true");
  if (required && target.matches("input, textarea, [role=radiogroup]")) target.setAttribute("aria-required", "true");
}

function table(each, context) {
  const settings = each.column_settings ?? [];
  const [head, ...body] = each.rows ?? [];
  const row = (cells, tag) => h("tr", null, (cells ?? []).map((cell, column) => h(tag, { class: settings[column]?.align ? `align-${settings[column].align}` : undefined, scope: tag === "th" ? "col" : undefined }, tableCell(cell, context))));
  return h("div", { class: "table-scroll", tabIndex: 0, role: "region", "aria-label": "Table" }, h("table", null, h("thead", null, row(head, "th")), h("tbody", null, body.map((cells) => row(cells, "td")))));
}

function tableCell(cell, context) {
  if (cell?.type === "rich_text") return richText(cell.elements, context.workspace);
  if (cell?.type === "mrkdwn") return mrkdwn(cell.text, context.workspace);
  return plain(cell?.text ?? cell?.value ?? "", false);
}
