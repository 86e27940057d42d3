/** Asking back before something that cannot be undone. */

import { h } from "./dom.js";
import { t } from "./strings.js";

/**
 * Ask the user to confirm; resolves to false if the dialog is left in any other way.
 * @param {{title: string, text: string, action: string}} words
 * @returns {Promise<boolean>}
 */
export function confirmed({ title, text, action }) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { class: "dialog", "aria-labelledby": "dialog-title", onclose: () => leave() },
      h("h2", { id: "dialog-title" }, title),
      h("p", null, text),
      h(
        "form",
        { method: "dialog", class: "dialog-actions" },
        h("button", { class: "button", value: "" }, t("cancel")),
        h("button", { class: "button danger", value: "yes" }, action),
      ),
    );
    const leave = () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    };
    document.body.append(dialog);
    dialog.showModal();
  });
}
