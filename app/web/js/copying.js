/** Copying to the clipboard, on pages without TLS too. */

import { announce } from "./announce.js";
import { h } from "./dom.js";
import { notify } from "./notices.js";
import { t } from "./strings.js";

/**
 * Copy a text and show on the button that it worked.
 * @param {string} text
 * @param {HTMLElement} button
 */
export async function copy(text, button) {
  if (!(await copied(text))) return notify(t("copy-failed"));
  announce(t("copied"));
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1600);
}

/** @param {string} text */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedTheOldWay(text);
  }
}

/** @param {string} text */
function copiedTheOldWay(text) {
  const field = h("textarea", { class: "visually-hidden", value: text, "aria-hidden": true });
  const focused = document.activeElement;
  document.body.append(field);
  field.select();
  const worked = document.execCommand("copy");
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return worked;
}
