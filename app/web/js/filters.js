/**
 * What an answer is narrowed to (collection, attributes, days) and sorted by. The bar always shows what is
 * active, as chips that take it away again; the panel below it offers what the gallery has, with counts.
 */

import { announce } from "./announce.js";
import { getJson } from "./api.js";
import { fill, h, icon } from "./dom.js";
import { dayOf, endOf, startOf } from "./days.js";
import { formatDay } from "./formats.js";
import { formatNumber, t } from "./strings.js";
import "./strings_views.js";

/** @typedef {import("./types.js").Filters} Filters */
/** @typedef {{key: string, values: {value: any, count: number}[]}} Attribute */
/** @typedef {{count: number, taken_from: string | null, taken_to: string | null, attributes: Attribute[]}} Facets */

/** @type {Filters} */
export const NO_FILTERS = { collection: null, attributes: null, taken_from: null, taken_to: null, sort: "relevance" };
const SORTS = /** @type {const} */ (["relevance", "newest", "oldest"]);

/**
 * Show the filter bar.
 * @param {HTMLElement} container
 * @param {{value?: Partial<Filters>, onChange: (value: Filters) => void}} options
 * @returns {{update: (value: Partial<Filters>) => void}} update shows other filters without calling onChange
 */
export function mountFilters(container, { value: given = {}, onChange }) {
  let value = { ...NO_FILTERS, ...given };
  /** @type {{of: string | null, collections: {name: string, images: number}[], facets: Facets} | null} */
  let offered = null;

  const chips = h("div", { class: "filter-chips" });
  const panel = h("div", {
    class: "filter-panel",
    id: "filter-panel",
    role: "group",
    "aria-label": t("filters"),
    hidden: true,
  });
  const opener = h(
    "button",
    {
      type: "button",
      class: "button filter-opener",
      "aria-expanded": false,
      "aria-controls": "filter-panel",
      onclick: toggle,
    },
    icon("filter"),
    t("filters"),
  );
  const sort = choice(
    t("filters-sort"),
    SORTS.map((name) => [name, t(`filters-${name}`)]),
    value.sort,
    (name) => change({ sort: name }),
  );
  sort.classList.add("filter-sort");
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation(); // Esc elsewhere stops an answer
    toggle();
    opener.focus();
  });
  fill(container, h("div", { class: "filter-bar" }, opener, chips, sort), panel);
  showChips();
  return { update };

  /** @param {Partial<Filters>} next */
  function update(next) {
    value = { ...NO_FILTERS, ...next };
    select(sort).value = value.sort;
    showChips();
    if (panel.hidden) return;
    if (offered?.of === value.collection) showPanel();
    else load();
  }

  /** @param {Partial<Filters>} part */
  function change(part) {
    value = { ...value, ...part };
    showChips();
    onChange({ ...value });
    if (!panel.hidden && "collection" in part) load();
  }

  function toggle() {
    panel.hidden = !panel.hidden;
    opener.setAttribute("aria-expanded", String(!panel.hidden));
    if (!panel.hidden) load(); // the gallery may have grown since
  }

  function showChips() {
    const active = activeFilters(value);
    fill(
      chips,
      active.map(({ words, without }) => chip(words, without)),
    );
    opener.dataset.active = active.length > 0 ? formatNumber(active.length) : "";
  }

  /**
   * @param {string} words
   * @param {Partial<Filters>} without
   */
  function chip(words, without) {
    const remove = () => {
      change(without);
      if (!panel.hidden) showPanel();
      announce(t("filters-removed", { filter: words }));
      const next = chips.querySelector("button") ?? opener;
      next.focus();
    };
    return h(
      "button",
      { type: "button", class: "filter-chip", "aria-label": t("filters-remove", { filter: words }), onclick: remove },
      h("span", null, words),
      icon("close"),
    );
  }

  async function load() {
    const of = value.collection;
    panel.setAttribute("aria-busy", "true");
    try {
      const query = of === null ? "" : `?collection=${encodeURIComponent(of)}`;
      const [collections, facets] = await Promise.all([getJson("/api/collections"), getJson(`/api/facets${query}`)]);
      if (of !== value.collection) return; // another is being loaded already
      offered = { of, collections, facets };
      showPanel();
    } catch {
      const retry = h("button", { type: "button", class: "button", onclick: load }, t("try-again"));
      fill(panel, h("p", { role: "alert" }, t("filters-unreachable")), retry);
    }
    panel.setAttribute("aria-busy", "false");
  }

  function showPanel() {
    if (offered === null) return;
    const { collections, facets } = offered;
    keepingFocus(panel, () => fill(panel, fields(collections, facets)));
  }

  /**
   * @param {{name: string, images: number}[]} collections
   * @param {Facets} facets
   */
  function fields(collections, facets) {
    const counted = (/** @type {string} */ name, /** @type {number} */ count) => t("filters-counted", { name, count });
    const places = collections.map(
      ({ name, images }) => /** @type {[string, string]} */ ([name, counted(name, images)]),
    );
    const pick = (/** @type {string} */ name) => change({ collection: name || null });
    return [
      choice(t("filters-collection"), [["", t("filters-all")], ...places], value.collection ?? "", pick),
      facets.attributes.map(({ key, values }) => {
        const current = JSON.stringify(value.attributes?.[key]);
        const offered = values.map(
          (each) =>
            /** @type {[string, string]} */ ([
              JSON.stringify(each.value),
              counted(attributeWords(each.value), each.count),
            ]),
        );
        const unlisted = current !== undefined && !offered.some(([code]) => code === current);
        if (unlisted) offered.push([current, attributeWords(value.attributes?.[key])]);
        return choice(key, [["", t("filters-any")], ...offered], current ?? "", (code) =>
          change({ attributes: withAttribute(key, code) }),
        );
      }),
      days(facets),
    ];
  }

  /** @param {Facets} facets */
  function days({ taken_from, taken_to }) {
    if (!taken_from || !taken_to) return h("p", { class: "filter-note" }, t("filters-undated"));
    const bounds = { min: dayOf(taken_from), max: dayOf(taken_to) };
    return [
      day(t("filters-from"), value.taken_from && dayOf(value.taken_from), bounds, (iso) =>
        change({ taken_from: iso && startOf(iso) }),
      ),
      day(t("filters-to"), value.taken_to && dayOf(value.taken_to, -1), bounds, (iso) =>
        change({ taken_to: iso && endOf(iso) }),
      ),
    ];
  }

  /**
   * @param {string} key
   * @param {string} code JSON of the value; empty for any
   */
  function withAttribute(key, code) {
    const { [key]: _, ...others } = value.attributes ?? {};
    const next = code ? { ...others, [key]: JSON.parse(code) } : others;
    return Object.keys(next).length > 0 ? next : null;
  }
}

/**
 * Return each active filter in words, and what remains when it is taken away.
 * @param {Filters} value
 * @returns {{words: string, without: Partial<Filters>}[]}
 */
function activeFilters({ collection, attributes, taken_from, taken_to }) {
  const active = [];
  if (collection !== null) active.push({ words: collection, without: { collection: null } });
  for (const [key, wanted] of Object.entries(attributes ?? {})) {
    const { [key]: _, ...rest } = attributes ?? {};
    const others = Object.keys(rest).length > 0 ? rest : null;
    active.push({ words: `${key}: ${attributeWords(wanted)}`, without: { attributes: others } });
  }
  if (taken_from)
    active.push({ words: t("filters-since", { day: formatDay(taken_from) }), without: { taken_from: null } });
  if (taken_to)
    active.push({ words: t("filters-until", { day: formatDay(dayOf(taken_to, -1)) }), without: { taken_to: null } });
  return active;
}

/** @param {any} value of an attribute */
function attributeWords(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/**
 * Return a labelled select.
 * @param {string} label
 * @param {readonly (readonly [string, string])[]} options code and words
 * @param {string} current
 * @param {(code: any) => void} onPick
 */
function choice(label, options, current, onPick) {
  const menu = h(
    "select",
    { class: "field", onchange: () => onPick(menu.value) },
    options.map(([code, words]) => h("option", { value: code, selected: code === current }, words)),
  );
  return h("label", { class: "filter-field" }, h("span", null, label), menu);
}

/**
 * @param {string} label
 * @param {string | null} current
 * @param {{min: string, max: string}} bounds
 * @param {(iso: string | null) => void} onPick
 */
function day(label, current, bounds, onPick) {
  const input = h("input", {
    type: "date",
    class: "field",
    value: current ?? "",
    ...bounds,
    onchange: () => onPick(input.value || null),
  });
  return h("label", { class: "filter-field" }, h("span", null, label), input);
}

/** @param {HTMLElement} label */
function select(label) {
  const found = label.querySelector("select");
  if (!found) throw new Error("a choice without its select");
  return found;
}

/**
 * Run a change that makes a panel's fields anew, and give the focus back to the field that had it.
 * @param {HTMLElement} panel
 * @param {() => void} change
 */
function keepingFocus(panel, change) {
  const fields = () => [...panel.querySelectorAll("select, input")];
  const place = document.activeElement ? fields().indexOf(document.activeElement) : -1;
  change();
  const field = fields()[place];
  if (field instanceof HTMLElement) field.focus();
}
