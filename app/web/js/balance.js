/** The slider between words and pictures, with a sentence that says what it does. */

import { h } from "./dom.js";
import { alphaOf, hasBoth } from "./question.js";
import { formatNumber, t } from "./strings.js";

/** @typedef {import("./question.js").Part} Part */

/**
 * Return the slider; show() hides it where there is nothing to balance.
 * @param {(alpha: number) => void} onChange
 */
export function balanceSlider(onChange) {
  const input = h("input", {
    type: "range",
    class: "balance-range",
    min: 0,
    max: 1,
    step: 0.05,
    "aria-label": t("balance"),
  });
  const sentence = h("p", { class: "balance-sentence", id: "balance-sentence" });
  const element = h(
    "div",
    { class: "balance", hidden: true },
    h("span", { "aria-hidden": true }, t("pictures")),
    input,
    h("span", { "aria-hidden": true }, t("words")),
    sentence,
  );
  input.addEventListener("input", () => onChange(input.valueAsNumber));
  return {
    element,
    /** @param {Part[]} parts */
    show(parts) {
      const alpha = alphaOf(parts);
      element.hidden = !hasBoth(parts);
      if (document.activeElement !== input) input.value = String(alpha);
      const said = inWords(alpha);
      sentence.textContent = said;
      input.setAttribute("aria-valuetext", said);
    },
  };
}

/** @param {number} alpha */
function inWords(alpha) {
  const percent = (/** @type {number} */ share) => formatNumber(share, { style: "percent", maximumFractionDigits: 0 });
  const shares = { words: percent(alpha), pictures: percent(1 - alpha) };
  if (alpha >= 0.99) return t("balance-words-only");
  if (alpha <= 0.01) return t("balance-pictures-only");
  if (alpha > 0.65) return t("balance-mostly-words", shares);
  if (alpha < 0.35) return t("balance-mostly-pictures", shares);
  return t("balance-both", shares);
}
