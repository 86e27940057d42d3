/**
 * The key of a gallery that answers only to who has one. The browser keeps it in a cookie that this page cannot
 * read, for reading alone, until it is closed: a picture in a page is asked for without headers.
 */

import { h } from "./dom.js";
import { addStrings, t } from "./strings.js";

addStrings({
  en: {
    "key-title": "This gallery asks for a key",
    "key-text": "Whoever runs it can give you one. It is kept until the browser is closed.",
    "key-label": "Key",
    "key-enter": "Open the gallery",
    "key-refused": "This key is not good: {said}",
  },
  vi: {
    "key-title": "Bộ sưu tập này cần khoá",
    "key-text": "Người vận hành có thể cấp khoá cho bạn. Khoá được giữ cho đến khi đóng trình duyệt.",
    "key-label": "Khoá",
    "key-enter": "Mở bộ sưu tập",
    "key-refused": "Khoá này không dùng được: {said}",
  },
});

/** @type {Promise<boolean> | null} */
let asking = null;

/**
 * Ask for the key, once for all who wait for it.
 * @returns {Promise<boolean>} whether there is one now
 */
export function askForKey() {
  asking ??= keyDialog().finally(() => (asking = null));
  return asking;
}

/** @returns {Promise<boolean>} */
function keyDialog() {
  return new Promise((resolve) => {
    const said = h("p", { role: "alert", class: "key-refused" });
    const input = h("input", { type: "password", name: "key", required: true, autocomplete: "off" });
    const submit = async (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      const refusal = await keep(input.value.trim());
      if (refusal === null) return dialog.close("kept");
      said.textContent = t("key-refused", { said: refusal });
      input.select();
    };
    const dialog = h(
      "dialog",
      { class: "dialog", "aria-labelledby": "key-title", onclose: () => leave() },
      h(
        "form",
        { onsubmit: submit },
        h("h2", { id: "key-title" }, t("key-title")),
        h("p", null, t("key-text")),
        h("label", { class: "key-field" }, h("span", null, t("key-label")), input),
        said,
        h(
          "div",
          { class: "dialog-actions" },
          h("button", { type: "button", class: "button", onclick: () => dialog.close() }, t("cancel")),
          h("button", { class: "button primary" }, t("key-enter")),
        ),
      ),
    );
    const leave = () => {
      resolve(dialog.returnValue === "kept");
      dialog.remove();
    };
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
}

/**
 * @param {string} key
 * @returns {Promise<string | null>} why it was refused, or null
 */
async function keep(key) {
  try {
    const response = await fetch("/api/session", { method: "POST", headers: { "x-api-key": key } });
    if (response.ok) return null;
    const { detail, title } = await response.json();
    return String(detail ?? title);
  } catch (error) {
    return String(error); // no header takes this key, or the service is gone
  }
}
