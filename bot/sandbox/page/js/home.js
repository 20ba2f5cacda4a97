// An app's place: the Home tab it publishes, and words about it.

import { get, post } from "./api.js";
import { blocks } from "./blocks.js";
import { h, replace } from "./dom.js";
import { avatar } from "./icons.js";
import { plain } from "./mrkdwn.js";

/** HomeTab draws the view an app has published for this user, live. */
export class HomeTab {
  constructor(app) {
    this.app = app;
    this.element = h("div", { class: "home-tab", role: "tabpanel", "aria-label": "Home" });
  }

  /** show opens the tab: the app hears of it, and may publish anew. */
  async show(id) {
    this.id = id;
    this.draw();
    const { workspace } = this.app;
    post("open_home", { user: workspace.me, app: id }).catch((error) => this.app.toast("error", error.message));
    try {
      const { view } = await get("home", { user: workspace.me, app: id });
      if (view && !workspace.homes.has(id)) workspace.homes.set(id, view);
    } catch (error) {
      this.app.toast("error", error.message);
    }
    if (this.id === id) this.draw();
  }

  draw() {
    const view = this.app.workspace.homes.get(this.id);
    const known = this.app.workspace.apps.get(this.id);
    const focus = this.element.contains(document.activeElement) ? document.activeElement.dataset : undefined;
    this.element.dataset.viewId = view?.id ?? "";
    replace(this.element, h("div", { class: "home-column" }, view ? blocks(view.blocks, this.app.interactions.viewContext(view)) : nothingYet(known)));
    if (focus?.actionId) this.element.querySelector(`[data-action-id="${CSS.escape(focus.actionId)}"][data-block-id="${CSS.escape(focus.blockId ?? "")}"]`)?.focus({ preventScroll: true });
  }
}

const nothingYet = (app) => h("div", { class: "home-empty" }, h("h2", null, "Nothing here yet"), h("p", null, `${app?.name ?? "The app"} has not published a Home tab for you. It usually does so moments after you open it.`));

/** aboutApp describes an app and its commands. */
export function aboutApp(app, workspace) {
  return h(
    "div",
    { class: "home-tab", role: "tabpanel", "aria-label": "About" },
    h(
      "div",
      { class: "home-column about" },
      avatar({ ...workspace.user(app.bot_user_id), is_bot: true }, 72),
      h("h2", null, app.name),
      h("p", null, plain(app.description ?? "")),
      workspace.commands.length ? h("h3", null, "Commands") : null,
      h("dl", null, workspace.commands.map((command) => [h("dt", null, h("code", null, command.command), " ", h("span", { class: "suggestion-usage" }, command.usage_hint)), h("dd", null, command.description)])),
      workspace.shortcuts.length ? h("h3", null, "Shortcuts") : null,
      h("ul", null, workspace.shortcuts.map((shortcut) => h("li", null, shortcut.name, shortcut.type === "message" ? " (in a message's menu)" : ""))),
    ),
  );
}
