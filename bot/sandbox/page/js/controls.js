// Block Kit's interactive elements, and what they report.
//
// A surface (a message, a modal, the Home tab) gives its controls a context:
//   {workspace, bag, act(action, node), surface}
// bag holds what has been typed and chosen (view.state / message state), and
// act sends one block action. Each control carries data-action-id and
// data-block-id. A control inside an input block acts only with dispatch_action.

import { avatar } from "./icons.js";
import { freshId, h, link, replace, safeHref, spend } from "./dom.js";
import { icon } from "./icons.js";
import { plain, textObject } from "./mrkdwn.js";
import { openList } from "./popup.js";
import { displayName } from "./workspace.js";

/** Bag keeps the values of a surface's inputs in Slack's state.values shape. */
export class Bag {
  constructor() {
    this.values = {};
  }

  get(block, action) {
    return this.values[block]?.[action];
  }

  set(block, action, value) {
    (this.values[block] ??= {})[action] = value;
  }

  /** start sets a first value unless the person already changed it. */
  start(block, action, value) {
    if (this.get(block, action) === undefined) this.set(block, action, value);
  }

  /** keepOnly forgets inputs that are no longer on the surface. */
  keepOnly(blocks) {
    const living = new Set((blocks ?? []).map((block) => block.block_id));
    for (const block of Object.keys(this.values)) if (!living.has(block)) delete this.values[block];
  }
}

/** control draws one element; unknown types return null. */
export function control(element, block, context, { inInput = false, describedBy } = {}) {
  const draw = KINDS[element?.type];
  if (!draw) return null;
  const dispatches = !inInput || Boolean(block.dispatch_action);
  return draw({ element, block, context, dispatches, inInput, describedBy, data: { actionId: element.action_id, blockId: block.block_id } });
}

const KINDS = {
  button,
  workflow_button: button,
  overflow,
  static_select: (part) => single(part, staticOptions(part.element), "selected_option", part.element.initial_option),
  users_select: (part) => single(part, userOptions(part), "selected_user", part.element.initial_user),
  channels_select: (part) => single(part, channelOptions(part, false), "selected_channel", part.element.initial_channel),
  conversations_select: (part) => single(part, channelOptions(part, true), "selected_conversation", part.element.initial_conversation),
  multi_static_select: (part) => multi(part, staticOptions(part.element), "selected_options", part.element.initial_options),
  multi_users_select: (part) => multi(part, userOptions(part), "selected_users", part.element.initial_users),
  multi_channels_select: (part) => multi(part, channelOptions(part, false), "selected_channels", part.element.initial_channels),
  multi_conversations_select: (part) => multi(part, channelOptions(part, true), "selected_conversations", part.element.initial_conversations),
  plain_text_input: (part) => textInput(part, part.element.multiline ? "textarea" : "text"),
  email_text_input: (part) => textInput(part, "email"),
  url_text_input: (part) => textInput(part, "url"),
  number_input: (part) => textInput(part, "number"),
  datepicker: (part) => dateInput(part, "date", "selected_date", part.element.initial_date),
  timepicker: (part) => dateInput(part, "time", "selected_time", part.element.initial_time),
  datetimepicker: (part) => dateInput(part, "datetime-local", "selected_date_time", part.element.initial_date_time),
  radio_buttons: (part) => choices(part, "radio"),
  checkboxes: (part) => choices(part, "checkbox"),
};

const base = ({ element, block }) => ({ block_id: block.block_id, action_id: element.action_id, type: element.type });

/** send asks for confirmation where the element wants it, then acts. */
async function send(part, node, body) {
  const { element, context } = part;
  if (element.confirm && !(await confirmed(element.confirm, context.workspace))) return false;
  context.act({ ...base(part), ...body }, node);
  return true;
}

function button(part) {
  const { element, context, data } = part;
  const style = ["primary", "danger"].includes(element.style) ? ` button-${element.style}` : "";
  const props = { class: `button${style}`, data: { ...data, value: element.value }, "aria-label": element.accessibility_label };
  const label = h("span", { class: "button-label" }, plain(element.text?.text, element.text?.emoji !== false));
  const body = { value: element.value, text: element.text };
  if (element.url && safeHref(element.url)) {
    return link(element.url, { ...props, onclick: (event) => context.act({ ...base(part), ...body }, event.currentTarget, { quiet: true }) }, label);
  }
  return h("button", { ...props, type: "button", onclick: (event) => send(part, event.currentTarget, body) }, label);
}

function overflow(part) {
  const { element, data } = part;
  const options = (element.options ?? []).map((option) => ({ text: option.text?.text ?? "", draw: () => textObject(option.text), description: option.description?.text, value: option.value, option }));
  return h(
    "button",
    {
      class: "button button-overflow",
      type: "button",
      data,
      "aria-label": "More actions",
      "aria-haspopup": "menu",
      "aria-expanded": "false",
      onclick: (event) => {
        const anchor = event.currentTarget;
        openList({ anchor, label: "More actions", menu: true, filter: false, options, choose: ({ option }) => chooseOverflow(part, anchor, option) });
      },
    },
    icon("ellipsis"),
  );
}

function chooseOverflow(part, anchor, option) {
  if (safeHref(option.url)) window.open(safeHref(option.url), "_blank", "noopener,noreferrer");
  return send(part, anchor, { selected_option: option });
}

// Selects. An option here is {text, value, raw}: raw is what Slack reports.

function staticOptions(element) {
  const groups = element.option_groups ?? [{ options: element.options ?? [] }];
  return groups.flatMap((group) =>
    (group.options ?? []).map((option) => ({ text: option.text?.text ?? "", draw: () => textObject(option.text), description: option.description?.text, value: option.value, group: group.label?.text, raw: option })),
  );
}

function userOptions({ context }) {
  return [...context.workspace.users.values()].map((user) => ({ text: displayName(user), description: `@${user.name}`, value: user.id, icon: avatar(user, 20), raw: user.id }));
}

function channelOptions({ context }, withPeople) {
  const { workspace } = context;
  return [...workspace.channels.values()]
    .filter((channel) => withPeople || !channel.is_im)
    .map((channel) => ({ text: workspace.title(channel), value: channel.id, icon: channel.is_im ? avatar(workspace.user(channel.im_user), 20) : icon(channel.is_private ? "lock" : "hash", 16), raw: channel.id }));
}

const rawKey = (raw) => (raw && typeof raw === "object" ? raw.value : raw);

function selectButton(part, expandsTo) {
  const { data, describedBy, element } = part;
  return h("button", { class: "select", type: "button", id: part.id, data, "aria-haspopup": expandsTo, "aria-expanded": "false", "aria-describedby": describedBy, "aria-labelledby": part.labelledBy, "aria-label": part.labelledBy ? undefined : element.placeholder?.text || "Choose an option" });
}

function single(part, options, field, initial) {
  const { element, block, context, dispatches } = part;
  context.bag.start(block.block_id, element.action_id, { type: element.type, [field]: initial ?? null });
  const trigger = selectButton(part, "listbox");
  const chosenKey = () => rawKey(context.bag.get(block.block_id, element.action_id)?.[field]);
  const draw = () => drawSelect(trigger, element, options.find((option) => option.value === chosenKey()));
  const pick = async (option) => {
    const before = context.bag.get(block.block_id, element.action_id);
    const value = { type: element.type, [field]: option.raw };
    context.bag.set(block.block_id, element.action_id, value);
    draw();
    trigger.dispatchEvent(new Event("change", { bubbles: true }));
    if (dispatches && !(await send(part, trigger, { [field]: option.raw }))) {
      context.bag.set(block.block_id, element.action_id, before);
      draw();
    }
  };
  trigger.addEventListener("click", () => openList({ anchor: trigger, label: element.placeholder?.text || "Options", options, choose: pick, chosen: (option) => option.value === chosenKey() }));
  trigger.addEventListener("keydown", openOnArrow);
  draw();
  return trigger;
}

function drawSelect(trigger, element, option) {
  trigger.classList.toggle("is-empty", !option);
  trigger.dataset.value = option?.value ?? "";
  const shown = option ? [option.icon?.cloneNode(true), option.draw?.() ?? option.text] : (element.placeholder?.text ?? "Choose an option");
  replace(trigger, h("span", { class: "select-text" }, shown), icon("down", 16));
  if (trigger.hasAttribute("aria-label")) trigger.setAttribute("aria-label", [element.placeholder?.text || "Choose an option", option?.text].filter(Boolean).join(": "));
}

function multi(part, options, field, initial) {
  const { element, block, context, dispatches } = part;
  context.bag.start(block.block_id, element.action_id, { type: element.type, [field]: initial ?? [] });
  const chosen = () => context.bag.get(block.block_id, element.action_id)?.[field] ?? [];
  const keys = () => chosen().map(rawKey);
  const trigger = selectButton(part, "listbox");
  const chips = h("span", { class: "chips" });
  const holder = h("span", { class: "multi" }, chips, trigger);
  let touched = false;
  const set = (values) => {
    context.bag.set(block.block_id, element.action_id, { type: element.type, [field]: values });
    touched = true;
    draw();
    holder.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const report = () => {
    if (touched && dispatches) send(part, trigger, { [field]: chosen() });
    touched = false;
  };
  const toggle = (option) => {
    const without = chosen().filter((raw) => rawKey(raw) !== option.value);
    if (without.length < chosen().length) set(without);
    else if (chosen().length < (element.max_selected_items ?? Infinity)) set([...chosen(), option.raw]);
  };
  function draw() {
    drawSelect(trigger, element, undefined);
    replace(chips, options.filter((option) => keys().includes(option.value)).map((option) => chip(option, () => (toggle(option), report(), trigger.focus()))));
  }
  trigger.addEventListener("click", () => openList({ anchor: trigger, label: element.placeholder?.text || "Options", options, multiple: true, choose: toggle, chosen: (option) => keys().includes(option.value), onclose: report }));
  trigger.addEventListener("keydown", openOnArrow);
  draw();
  return holder;
}

const chip = (option, remove) => h("span", { class: "chip", data: { value: option.value } }, option.text, h("button", { type: "button", class: "chip-remove", "aria-label": `Remove ${option.text}`, onclick: remove }, icon("close", 12)));

function openOnArrow(event) {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  spend(event);
  event.currentTarget.click();
}

function textInput(part, kind) {
  const { element, block, context, data, describedBy, dispatches } = part;
  context.bag.start(block.block_id, element.action_id, { type: element.type, value: element.initial_value ?? null });
  const value = context.bag.get(block.block_id, element.action_id)?.value ?? "";
  const shared = { class: "text-input", id: part.id, data, placeholder: element.placeholder?.text, "aria-describedby": describedBy, "aria-label": part.labelled ? undefined : element.placeholder?.text || "Text", maxlength: element.max_length, value, autofocus: element.focus_on_load };
  const input = kind === "textarea" ? h("textarea", { ...shared, rows: "3" }) : h("input", { ...shared, type: kind === "number" ? "text" : kind, inputmode: kind === "number" ? "decimal" : undefined, autocomplete: "off" });
  const triggers = element.dispatch_action_config?.trigger_actions_on ?? ["on_enter_pressed"];
  const report = () => send(part, input, { value: input.value });
  input.addEventListener("input", () => {
    context.bag.set(block.block_id, element.action_id, { type: element.type, value: input.value === "" ? null : input.value });
    if (dispatches && triggers.includes("on_character_entered")) report();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || kind === "textarea" || event.isComposing) return;
    spend(event);
    if (dispatches && triggers.includes("on_enter_pressed")) report();
    else context.submit?.();
  });
  return input;
}

function dateInput(part, kind, field, initial) {
  const { element, block, context, data, describedBy, dispatches } = part;
  context.bag.start(block.block_id, element.action_id, { type: element.type, [field]: initial ?? null });
  const shown = toField(kind, context.bag.get(block.block_id, element.action_id)?.[field]);
  const input = h("input", { class: "text-input date-input", id: part.id, type: kind, data, value: shown, "aria-describedby": describedBy, "aria-label": part.labelled ? undefined : element.placeholder?.text || "Date" });
  let waiting;
  let reported = shown;
  // Typing a year passes through years like 0002, so a typed date is sent once it rests.
  const report = () => {
    clearTimeout(waiting);
    if (!dispatches || !input.value || input.value === reported) return;
    reported = input.value;
    send(part, input, { [field]: fromField(kind, input.value) });
  };
  input.addEventListener("change", () => {
    context.bag.set(block.block_id, element.action_id, { type: element.type, [field]: fromField(kind, input.value) });
    clearTimeout(waiting);
    if (kind === "time" || !/^0/.test(input.value)) waiting = setTimeout(report, 600);
  });
  input.addEventListener("blur", report);
  return input;
}

function toField(kind, value) {
  if (kind !== "datetime-local" || !value) return value ?? "";
  const local = new Date(value * 1000);
  return new Date(local.getTime() - local.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

const fromField = (kind, text) => (text === "" ? null : kind === "datetime-local" ? Math.floor(new Date(text).getTime() / 1000) : text);

function choices(part, kind) {
  const { element, block, context, data, describedBy, dispatches } = part;
  const field = kind === "radio" ? "selected_option" : "selected_options";
  context.bag.start(block.block_id, element.action_id, { type: element.type, [field]: kind === "radio" ? (element.initial_option ?? null) : (element.initial_options ?? []) });
  const now = [context.bag.get(block.block_id, element.action_id)?.[field] ?? []].flat().map(rawKey);
  const name = freshId("choice");
  const holder = h("div", { class: "choices", role: kind === "radio" ? "radiogroup" : "group", data, "aria-describedby": describedBy, "aria-labelledby": part.labelledBy, "aria-label": part.labelledBy ? undefined : "Options" });
  for (const option of element.options ?? []) {
    const input = h("input", { type: kind, name, value: option.value, checked: now.includes(option.value), data: { actionId: element.action_id, value: option.value } });
    input.addEventListener("change", () => {
      const picked = [...holder.querySelectorAll("input:checked")].map((box) => element.options.find((each) => each.value === box.value));
      const value = kind === "radio" ? (picked[0] ?? null) : picked;
      context.bag.set(block.block_id, element.action_id, { type: element.type, [field]: value });
      if (dispatches) send(part, input, { [field]: value });
    });
    holder.append(h("label", { class: "choice" }, input, h("span", { class: "choice-mark", "aria-hidden": "true" }), h("span", { class: "choice-text" }, textObject(option.text, context.workspace), option.description ? h("span", { class: "choice-description" }, textObject(option.description, context.workspace)) : null)));
  }
  return holder;
}

/** confirmed shows a confirmation dialog and resolves to what was decided. */
export function confirmed(confirm, workspace) {
  return new Promise((decide) => {
    const danger = confirm.style === "danger" ? " button-danger" : " button-primary";
    const answer = (yes) => {
      dialog.close();
      dialog.remove();
      decide(yes);
    };
    const titleId = freshId("confirm");
    const dialog = h(
      "dialog",
      { class: "dialog dialog-small", "aria-labelledby": titleId, role: "alertdialog", data: { confirm: "true" }, oncancel: (event) => (event.preventDefault(), answer(false)) },
      h("h2", { id: titleId, class: "dialog-title" }, plain(confirm.title?.text ?? "Are you sure?")),
      h("div", { class: "dialog-body" }, textObject(confirm.text, workspace)),
      h(
        "div",
        { class: "dialog-actions" },
        h("button", { class: "button", type: "button", data: { answer: "no" }, onclick: () => answer(false) }, plain(confirm.deny?.text ?? "Cancel")),
        h("button", { class: `button${danger}`, type: "button", data: { answer: "yes" }, onclick: () => answer(true) }, plain(confirm.confirm?.text ?? "OK")),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}
