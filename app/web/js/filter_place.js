/** The place of the filter bar: a button until it is wanted, then the bar itself, which is loaded only then. */

import { h, icon } from "./dom.js";
import { areSet } from "./question.js";
import { sheet } from "./sheets.js";
import { t } from "./strings.js";

/** @typedef {import("./types.js").Filters} Filters */
/** @typedef {ReturnType<typeof import("./filters.js").mountFilters>} FilterBar */

/**
 * Return the place; show() tells it of filters that were set elsewhere.
 * @param {() => Filters} filters
 * @param {(filters: Filters) => void} onChange
 */
export function filterPlace(filters, onChange) {
  /** @type {FilterBar | null} */
  let bar = null;
  const label = [icon("filter"), t("open-filters")];
  const opener = h(
    "button",
    { type: "button", class: "button filter-opener", "aria-expanded": false, onclick: open },
    label,
  );
  const element = h("div", { class: "filters" }, opener);

  async function mount() {
    const [{ mountFilters }] = await Promise.all([import("./filters.js"), sheet("views")]);
    bar ??= mountFilters(element, { value: filters(), onChange });
  }

  async function open() {
    await mount();
    const mounted = element.querySelector("button");
    mounted?.focus();
    mounted?.click();
  }

  function show() {
    if (bar) bar.update(filters());
    else if (areSet(filters())) mount();
  }

  show();
  return { element, show };
}
