/** Many results chosen at once, and the bar that says what can be done with them. */

import { announce } from "./announce.js";
import { fill, h, icon, iconButton } from "./dom.js";
import { downloadJson, downloadZip } from "./downloads.js";
import { t } from "./strings.js";
import "./strings_views.js";

/** @typedef {import("./types.js").Hit} Hit */

/**
 * @typedef {object} Selection
 * @property {(id: string, options?: {range?: boolean}) => boolean} toggle chooses a hit or takes the choice back and says
 *   which; range gives all between it and the one toggled before the same
 * @property {(id: string) => boolean} has
 * @property {() => void} clear
 * @property {() => void} refresh shows the bar anew, as after a change of language
 */

/**
 * Show a selection's bar, which is hidden while nothing is chosen.
 * @param {HTMLElement} bar
 * @param {() => Hit[]} getHits the hits shown at the moment, in order
 * @param {(chosen: ReadonlySet<string>) => void} [onChange] called whenever the choice has changed
 * @param {() => unknown} [getQuery] the question, to be saved with the hits
 * @returns {Selection}
 */
export function mountSelection(bar, getHits, onChange = () => {}, getQuery = () => null) {
  /** @type {Set<string>} */
  const chosen = new Set();
  /** @type {string | null} */
  let last = null;
  const count = h("p", { class: "selection-count" });
  const trouble = h("p", { class: "selection-trouble", role: "alert" });
  bar.classList.add("selection-bar");
  bar.setAttribute("role", "region");
  refresh();
  return { toggle, has: (id) => chosen.has(id), clear, refresh };

  function refresh() {
    bar.setAttribute("aria-label", t("select-bar"));
    fill(
      bar,
      iconButton("close", t("select-clear"), { onclick: clear }),
      count,
      h("button", { type: "button", class: "button", onclick: all }, t("select-all")),
      h("button", { type: "button", class: "button primary", onclick: zip }, icon("download"), t("select-zip")),
      h("button", { type: "button", class: "button", onclick: json }, t("select-json")),
      trouble,
    );
    changed();
  }

  /**
   * @param {string} id
   * @param {{range?: boolean}} [options]
   */
  function toggle(id, { range = false } = {}) {
    const on = !chosen.has(id);
    for (const each of range ? between(last, id) : [id]) {
      if (on) chosen.add(each);
      else chosen.delete(each);
    }
    last = id;
    changed();
    announce(t("select-count", { n: chosen.size }));
    return on;
  }

  /**
   * @param {string | null} from
   * @param {string} to
   */
  function between(from, to) {
    const ids = getHits().map((hit) => hit.id);
    const [start, end] = [ids.indexOf(from ?? to), ids.indexOf(to)];
    if (start < 0 || end < 0) return [to];
    return ids.slice(Math.min(start, end), Math.max(start, end) + 1);
  }

  function all() {
    for (const hit of getHits()) chosen.add(hit.id);
    changed();
    announce(t("select-count", { n: chosen.size }));
  }

  function clear() {
    chosen.clear();
    changed();
    announce(t("select-none"));
  }

  function changed() {
    bar.hidden = chosen.size === 0;
    count.textContent = t("select-count", { n: chosen.size });
    trouble.textContent = "";
    onChange(chosen);
  }

  async function zip() {
    bar.setAttribute("aria-busy", "true");
    trouble.textContent = "";
    announce(t("select-packing"));
    try {
      await downloadZip(inOrder().map((hit) => hit.id));
    } catch (error) {
      trouble.textContent = t("select-failed", { reason: error instanceof Error ? error.message : String(error) });
    }
    bar.setAttribute("aria-busy", "false");
  }

  function json() {
    downloadJson(inOrder(), getQuery());
  }

  function inOrder() {
    return getHits().filter((hit) => chosen.has(hit.id));
  }
}
