/**
 * Modal dialogs: the page behind is out of reach, Tab goes round inside, Esc closes the topmost. The browser itself
 * gives the focus back to where it was.
 */

import { h } from "./dom.js";

/** @typedef {import("./dom.js").Child} Child */

const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex='0']";

/**
 * Open a dialog over the page.
 * @param {string} className
 * @param {string} label what a screen reader calls it
 * @param {Child[]} children
 * @param {() => void} [onClose] called once, however it closes
 * @returns {HTMLDialogElement} close it with its own close()
 */
export function openModal(className, label, children, onClose) {
  const attributes = { class: `modal ${className}`, role: "dialog", "aria-modal": true, "aria-label": label };
  const dialog = h("dialog", attributes, ...children);
  dialog.addEventListener("keydown", (event) => onKey(dialog, event));
  dialog.addEventListener("close", () => {
    dialog.remove();
    onClose?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Esc is answered here and not left to the browser, which may close two dialogs with one Esc.
 * @param {HTMLDialogElement} dialog
 * @param {KeyboardEvent} event
 */
function onKey(dialog, event) {
  if (event.key === "Escape" && !event.defaultPrevented) {
    event.preventDefault();
    event.stopPropagation();
    dialog.close();
  } else if (event.key === "Tab") {
    keepFocusInside(dialog, event);
  }
}

/**
 * @param {HTMLDialogElement} dialog
 * @param {KeyboardEvent} event
 */
function keepFocusInside(dialog, event) {
  const reachable = [...dialog.querySelectorAll(FOCUSABLE)].filter(
    (element) => element instanceof HTMLElement && !element.matches(":disabled") && element.checkVisibility(),
  );
  const [first, last] = [reachable.at(0), reachable.at(-1)];
  const leaving = event.shiftKey ? first : last;
  if (document.activeElement !== leaving && dialog.contains(document.activeElement)) return;
  event.preventDefault();
  const next = event.shiftKey ? last : first;
  if (next instanceof HTMLElement) next.focus();
}
