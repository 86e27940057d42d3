/** How all answers are shown: with scores or without, as a grid or as a slider. Remembered in this browser. */

import { h, icon } from "./dom.js";
import { recall, remember } from "./remembered.js";
import { t } from "./strings.js";

/** @typedef {"scores" | "slider"} Option */

const OPTIONS = /** @type {const} */ (["scores", "slider"]);

for (const option of OPTIONS) set(option, recall(option) === "on");

/**
 * Return a button that switches an option for every answer.
 * @param {Option} option
 */
export function shownToggle(option) {
  const toggle = () => {
    set(option, !isOn(option));
    remember(option, isOn(option) ? "on" : "off");
  };
  const pressed = { "aria-pressed": isOn(option), dataset: { toggles: option } };
  return h(
    "button",
    { type: "button", class: "tool", onclick: toggle, ...pressed },
    icon(option),
    h("span", null, t(`show-${option}`)),
  );
}

/** @param {Option} option */
function isOn(option) {
  return option in document.documentElement.dataset;
}

/**
 * @param {Option} option
 * @param {boolean} on
 */
function set(option, on) {
  document.documentElement.toggleAttribute(`data-${option}`, on);
  for (const button of document.querySelectorAll(`[data-toggles=${option}]`))
    button.setAttribute("aria-pressed", String(on));
}
