/** Attributes as a list of names and values, each with a row; there is always an empty row to write the next in. */

import { fill, h, iconButton } from "./dom.js";
import { t } from "./strings.js";

/** @typedef {import("./upload_sending.js").Pairs} Pairs */

/**
 * Return a field for attributes.
 * @param {string} label
 * @param {Pairs} pairs to begin with
 * @param {(pairs: Pairs) => void} onChange
 */
export function pairsField(label, pairs, onChange) {
  const rows = h("div", { class: "pairs-rows" });
  const add = () => rows.append(row(["", ""]));
  const field = h("div", { class: "pairs", role: "group", "aria-label": label }, rows);
  fill(rows, pairs.map(row));
  add();
  return field;

  /** @param {[string, string]} pair */
  function row([key, value]) {
    const inputs = [key, value].map((given, at) =>
      h("input", {
        class: "field",
        value: given,
        "aria-label": t(at === 0 ? "upload-key-name" : "upload-key-value"),
        placeholder: t(at === 0 ? "upload-key-name" : "upload-key-value"),
        oninput: changed,
      }),
    );
    const remove = iconButton("close", t("upload-remove-attribute"), { onclick: () => takeAway(line) });
    const line = h("div", { class: "pairs-row" }, inputs, remove);
    return line;
  }

  /** @param {HTMLElement} line */
  function takeAway(line) {
    if (line.nextElementSibling) line.remove();
    else for (const input of line.querySelectorAll("input")) input.value = "";
    changed();
    rows.querySelector("input")?.focus();
  }

  function changed() {
    const written = [...rows.children].map((line) => [...line.querySelectorAll("input")].map((input) => input.value));
    const filled = written.flatMap(([key = "", value = ""]) =>
      key || value ? [/** @type {[string, string]} */ ([key, value])] : [],
    );
    if (filled.length === written.length) add();
    onChange(filled);
  }
}
