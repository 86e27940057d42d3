/** What is known about a picture found, and what can be done with it: the lightbox's panel. */

import { h, icon } from "./dom.js";
import { downloadOne, fileName } from "./downloads.js";
import { formatBytes, formatDay, formatScore } from "./formats.js";
import { selectRegion } from "./region.js";
import { formatNumber, t } from "./strings.js";
import { termName } from "./terms.js";

/** @typedef {import("./types.js").Hit} Hit */
/** @typedef {import("./types.js").Actions} Actions */
/** @typedef {import("./types.js").TermEcho} Term */

/**
 * Return the panel of a hit.
 * @param {Hit} hit
 * @param {Actions} actions
 * @param {Term[]} terms
 * @param {() => void} close called before the question changes
 */
export function hitDetails(hit, actions, terms, close) {
  const [title, ...others] = hit.captions;
  return [
    h("h2", { class: "lightbox-title" }, title ?? fileName(hit)),
    buttons(hit, actions, close),
    scores(hit, terms),
    others.length > 0 &&
      h(
        "ul",
        { class: "lightbox-captions" },
        others.map((caption) => h("li", null, caption)),
      ),
    facts(hit),
  ];
}

/**
 * @param {Hit} hit
 * @param {Term[]} terms
 */
function scores(hit, terms) {
  const parts = hit.term_scores?.length > 1 ? hit.term_scores : [];
  return h(
    "dl",
    { class: "scores" },
    score(t("lightbox-score"), hit.score, "score-whole"),
    parts.map((value, at) => {
      const term = terms[at];
      return score(term ? termName(term) : t("term-number", { n: at + 1 }), value, "");
    }),
  );
}

/**
 * @param {string} name
 * @param {number} value
 * @param {string} className
 */
function score(name, value, className) {
  const bar = h("span", { class: "score-bar", style: { "--share": Math.max(0, value) } });
  return h("div", { class: className }, h("dt", null, name), h("dd", null, formatScore(value), bar));
}

/**
 * @param {Hit} hit
 * @param {Actions} actions
 * @param {() => void} close
 */
function buttons(hit, actions, close) {
  /** @type {(act: () => void) => () => void} */
  const closing = (act) => () => {
    close();
    act();
  };
  const more = closing(() => actions.moreLike(hit));
  const less = closing(() => actions.lessLike(hit));
  const add = closing(() => actions.addToQuestion(hit));
  const searchPart = async () => {
    const region = await selectRegion(hit.image_url, t("region-of", { name: hit.captions[0] ?? fileName(hit) }));
    if (region) closing(() => actions.searchRegion(hit, region))();
  };
  return h(
    "div",
    { class: "lightbox-actions" },
    button("more-like", "more-like", more),
    button("less-like", "less-like", less),
    button("add", "add", add),
    button("lightbox-part", "region", searchPart),
    button("download", "download", () => downloadOne(hit)),
  );
}

/**
 * @param {string} key
 * @param {string} shape
 * @param {() => void} onclick
 */
function button(key, shape, onclick) {
  return h("button", { type: "button", class: "button", onclick }, icon(shape), t(key));
}

/** @param {Hit} hit */
function facts(hit) {
  const size = `${formatNumber(hit.width)} × ${formatNumber(hit.height)}`;
  const attributes = Object.entries(hit.attributes ?? {});
  return h(
    "dl",
    { class: "facts" },
    fact(t("lightbox-file"), fileName(hit)),
    fact(
      t("lightbox-size"),
      [size, hit.byte_size && formatBytes(hit.byte_size), hit.format.toUpperCase()].filter(Boolean).join(" · "),
    ),
    hit.taken_at && fact(t("lightbox-taken"), formatDay(hit.taken_at, "long")),
    fact(t("lightbox-collection"), hit.collection),
    attributes.map(([key, value]) => fact(key, typeof value === "string" ? value : JSON.stringify(value))),
  );
}

/**
 * @param {string} name
 * @param {string} value
 */
function fact(name, value) {
  return h("div", null, h("dt", null, name), h("dd", null, value));
}
