// Modals: a stack of up to three views in one native dialog, which gives the
// focus trap and makes the page behind inert.

import { post } from "./api.js";
import { blocks } from "./blocks.js";
import { freshId, h, replace } from "./dom.js";
import { icon } from "./icons.js";
import { plain } from "./mrkdwn.js";

const TROUBLE = "We had some trouble connecting. Try again?";
const SUBMIT_PATIENCE = 6000;

export class Modals {
  constructor(app) {
    this.app = app;
    this.stack = [];
  }

  /** apply takes a modal event of the stream: open, push, update or close. */
  apply({ op, view, errors, user }) {
    if (user && user !== this.app.workspace.me) return;
    this.app.interactions.settleAll();
    this.waiting = false;
    if (op === "open") this.stack = [{ view, errors }];
    else if (op === "push") this.stack.push({ view, errors });
    else if (op === "update") this.update(view, errors);
    else if (op === "close") this.drop(view);
    this.draw();
  }

  /** trouble tells a waiting modal that the app did not answer. */
  trouble() {
    if (!this.waiting) return;
    this.waiting = false;
    this.top().trouble = TROUBLE;
    this.draw();
  }

  /** reset closes everything without telling anybody: another person sits down, or the workspace restarted. */
  reset() {
    this.stack = [];
    this.waiting = false;
    this.draw();
  }

  top() {
    return this.stack.at(-1);
  }

  update(view, errors) {
    const at = this.stack.findIndex((each) => each.view.id === view?.id || (view?.root_view_id && each.view.id === view.previous_view_id));
    const found = this.stack[at < 0 ? this.stack.length - 1 : at];
    if (!found) return;
    if (view?.blocks) found.view = view;
    found.errors = errors;
    found.trouble = undefined;
  }

  drop(view) {
    const gone = view ? this.stack.filter((each) => each.view.id === view.id) : this.stack;
    for (const each of gone) this.app.interactions.forget(each.view.id);
    this.stack = this.stack.filter((each) => !gone.includes(each));
  }

  draw() {
    const top = this.top();
    if (!top) return this.hide();
    const isNew = this.drawn !== top.view.id;
    const focus = isNew ? null : document.activeElement?.dataset?.actionId;
    const scroll = isNew ? 0 : (this.dialog.querySelector(".modal-body")?.scrollTop ?? 0);
    this.ensureDialog();
    this.drawn = top.view.id;
    const titleId = freshId("modal");
    this.dialog.setAttribute("aria-labelledby", titleId);
    this.dialog.dataset.viewId = top.view.id;
    replace(this.dialog, this.form(top, titleId));
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.querySelector(".modal-body").scrollTop = scroll;
    this.placeFocus(top, isNew, focus);
  }

  ensureDialog() {
    if (this.dialog?.isConnected) return;
    this.returnTo = document.activeElement;
    this.dialog = h("dialog", { class: "dialog modal", oncancel: (event) => (event.preventDefault(), this.cancel()) });
    document.body.append(this.dialog);
  }

  form(top, titleId) {
    const { view, errors } = top;
    const context = { ...this.app.interactions.viewContext(view), errors, submit: () => this.submit() };
    const app = this.app.workspace.apps.get(view.app_id) ?? [...this.app.workspace.apps.values()][0];
    return h(
      "form",
      { class: "modal-form", novalidate: true, onsubmit: (event) => (event.preventDefault(), this.submit()) },
      h(
        "header",
        { class: "modal-head" },
        this.stack.length > 1 ? h("button", { class: "icon-button", type: "button", "aria-label": "Back", onclick: () => this.cancel() }, icon("right")) : null,
        h("h2", { id: titleId, class: "modal-title" }, plain(view.title?.text ?? ""), app ? h("span", { class: "modal-app" }, app.name) : null),
        h("button", { class: "icon-button", type: "button", "aria-label": "Close", data: { modal: "dismiss" }, onclick: () => this.dismiss() }, icon("close")),
      ),
      h("div", { class: "modal-body", onchange: (event) => forgive(top, event.target), oninput: (event) => forgive(top, event.target) }, top.trouble ? h("div", { class: "modal-trouble", role: "alert" }, top.trouble) : null, blocks(view.blocks, context)),
      this.footer(view),
    );
  }

  footer(view) {
    const inputs = (view.blocks ?? []).some((block) => block.type === "input");
    const submit = view.submit || inputs ? h("button", { class: "button button-primary", type: "submit", data: { modal: "submit" } }, h("span", { class: "button-label" }, plain(view.submit?.text ?? "Submit"))) : null;
    return h("footer", { class: "modal-foot" }, h("button", { class: "button", type: "button", data: { modal: "close" }, onclick: () => this.cancel() }, plain(view.close?.text ?? (submit ? "Cancel" : "Close"))), submit);
  }

  placeFocus(top, isNew, actionId) {
    const invalid = top.errors && Object.keys(top.errors).length ? this.dialog.querySelector("[aria-invalid]") : null;
    const same = actionId ? this.dialog.querySelector(`[data-action-id="${CSS.escape(actionId)}"]`) : null;
    const first = isNew ? (this.dialog.querySelector("[autofocus]") ?? this.dialog.querySelector(".modal-body :is(input, textarea, button, a, [tabindex='0'])") ?? this.dialog.querySelector(".modal-foot button")) : null;
    (invalid ?? same ?? first)?.focus();
  }

  async submit() {
    const top = this.top();
    if (!top || this.waiting) return;
    const { bag } = this.app.interactions.viewContext(top.view);
    top.trouble = undefined;
    top.errors = missing(top.view, bag);
    if (Object.keys(top.errors).length) return this.draw();
    this.draw();
    this.wait();
    try {
      await post("submit", { user: this.app.workspace.me, view_id: top.view.id, state: { values: bag.values } });
    } catch (error) {
      this.waiting = false;
      top.trouble = error.message;
      this.draw();
    }
  }

  wait() {
    this.waiting = true;
    const button = this.dialog.querySelector("[data-modal=submit]");
    button?.setAttribute("aria-busy", "true");
    const { view } = this.top();
    setTimeout(() => this.top()?.view === view && this.trouble(), SUBMIT_PATIENCE);
  }

  /** cancel closes the view on top; dismiss closes them all. */
  cancel() {
    this.leave(this.stack.splice(-1));
  }

  dismiss() {
    this.leave(this.stack.splice(0).reverse());
  }

  leave(views) {
    this.waiting = false;
    this.draw();
    for (const { view } of views) {
      this.app.interactions.forget(view.id);
      post("close", { user: this.app.workspace.me, view_id: view.id }).catch(() => {});
    }
  }

  hide() {
    if (!this.dialog) return;
    this.dialog.close();
    this.dialog.remove();
    this.dialog = undefined;
    this.drawn = undefined;
    const back = this.returnTo?.isConnected ? this.returnTo : null;
    if (back && back !== document.body) back.focus({ preventScroll: true });
    else this.app.focusComposer();
  }
}

/** forgive takes a field's complaint back as soon as somebody works on it. */
function forgive(top, target) {
  const field = target.closest(".block-input.has-error");
  if (!field) return;
  delete top.errors?.[field.dataset.blockId];
  field.classList.remove("has-error");
  field.querySelector(".input-error")?.remove();
  field.querySelector("[aria-invalid]")?.removeAttribute("aria-invalid");
}

/** missing checks what Slack's own client checks before it sends a form. */
function missing(view, bag) {
  const errors = {};
  for (const block of view.blocks ?? []) {
    if (block.type !== "input") continue;
    const said = bag.get(block.block_id, block.element?.action_id);
    const problem = complaint(block, said);
    if (problem) errors[block.block_id] = problem;
  }
  return errors;
}

function complaint({ optional, element }, said) {
  const value = said && Object.entries(said).find(([name]) => name !== "type")?.[1];
  const empty = value === null || value === undefined || value === "" || (Array.isArray(value) && value.length === 0);
  if (empty) return optional ? undefined : "Please complete this required field.";
  if (element.min_length && value.length < element.min_length) return `Must be at least ${element.min_length} characters.`;
  if (element.type === "number_input" && !/^-?\d+(\.\d+)?$/.test(value)) return "Must be a number.";
  if (element.type === "email_text_input" && !/^\S+@\S+$/.test(value)) return "Must be an email address.";
  if (element.type === "url_text_input" && !URL.canParse(value)) return "Must be a web address.";
  return undefined;
}
