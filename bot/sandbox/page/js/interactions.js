// What a click on a block does: keep the surface's values, show that it is
// being worked on, send the action, and let go when the app reacts.

import { ApiError, post } from "./api.js";
import { Bag } from "./controls.js";

/** PATIENCE is how long a control stays busy without any sign from the app; Slack gives an app three seconds. */
const PATIENCE = 3500;

export class Interactions {
  constructor({ workspace, toast }) {
    this.workspace = workspace;
    this.toast = toast;
    this.bags = new Map();
    this.waiting = new Map();
  }

  /** messageContext is what the controls of a message need. */
  messageContext(channel, message) {
    const key = `${channel}/${message.ts}`;
    const container = { type: "message", channel, message_ts: message.ts, thread_ts: message.thread_ts };
    return this.context(key, container, message.blocks);
  }

  /** viewContext is what the controls of a modal or of the Home tab need. */
  viewContext(view) {
    return this.context(view.id, { type: "view", view_id: view.id }, view.blocks);
  }

  context(key, container, blocks) {
    const bag = this.bags.get(key) ?? new Bag();
    this.bags.set(key, bag);
    bag.keepOnly(blocks);
    return { workspace: this.workspace, bag, surface: key, act: (action, node, options) => this.act(key, container, bag, action, node, options) };
  }

  /** act sends one block action. quiet leaves the control as it is (links open elsewhere anyway). */
  async act(key, container, bag, action, node, { quiet = false } = {}) {
    if (node?.getAttribute("aria-busy") === "true") return;
    if (!quiet) this.busy(key, node);
    try {
      await post("action", { user: this.workspace.me, container, action, state: { values: bag.values } });
    } catch (error) {
      this.settle(key);
      this.toast("error", error instanceof ApiError ? error.message : String(error));
    }
  }

  busy(key, node) {
    if (!node) return;
    node.setAttribute("aria-busy", "true");
    const nodes = this.waiting.get(key) ?? new Set();
    this.waiting.set(key, nodes.add(node));
    setTimeout(() => this.release(key, node), PATIENCE);
  }

  release(key, node) {
    node.removeAttribute("aria-busy");
    this.waiting.get(key)?.delete(node);
  }

  /** settle ends the waiting of one surface: the app has reacted. */
  settle(key) {
    for (const node of this.waiting.get(key) ?? []) node.removeAttribute("aria-busy");
    this.waiting.delete(key);
  }

  /** settleAll ends all waiting: a modal opened, or the workspace said that the app failed. */
  settleAll() {
    for (const key of [...this.waiting.keys()]) this.settle(key);
  }

  /** forget drops a closed view's values. */
  forget(key) {
    this.bags.delete(key);
    this.settle(key);
  }
}
