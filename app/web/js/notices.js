/** Short messages at the edge of the page, for what belongs to no answer; each stays until it is read or closed. */

import { announce } from "./announce.js";
import { byId, h, iconButton } from "./dom.js";
import { t } from "./strings.js";

const SHOWN_MS = 12_000;

/**
 * Show a message and say it; the same one is shown once.
 * @param {string} text
 */
export function notify(text) {
  const shown = byId("notices");
  shown.setAttribute("aria-label", t("notices"));
  for (const notice of shown.children) if (notice.firstChild?.textContent === text) notice.remove();
  const notice = h("div", { class: "notice", dataset: { testid: "notice" } }, h("p", null, text));
  const close = () => notice.remove();
  notice.append(iconButton("close", t("close"), { onclick: close }));
  shown.append(notice);
  announce(text);
  closeLater(notice, close);
}

/**
 * Close a notice after a while, but not under a pointer or the focus.
 * @param {HTMLElement} notice
 * @param {() => void} close
 */
function closeLater(notice, close) {
  setTimeout(() => (notice.matches(":hover, :focus-within") ? closeLater(notice, close) : close()), SHOWN_MS);
}
