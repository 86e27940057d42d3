/** The fold under an answer that says how it was found: a receipt, with SQL that gives the same rows. */

import { copy } from "./copying.js";
import { h, icon } from "./dom.js";
import { formatMilliseconds, formatScore } from "./formats.js";
import { formatNumber, t } from "./strings.js";
import "./strings_views.js";
import { termName } from "./terms.js";

/** @typedef {import("./types.js").Done} Done */
/** @typedef {import("./types.js").Understood} Understood */

/**
 * Return the fold of an answer.
 * @param {Done} done
 * @param {Understood} understood
 * @returns {HTMLDetailsElement}
 */
export function howFound({ timings_ms: timings, background, receipt }, understood) {
  const { encoder } = receipt;
  return h(
    "details",
    { class: "how" },
    h("summary", null, t("how"), h("span", { class: "how-total" }, formatMilliseconds(timings.total))),
    h(
      "dl",
      { class: "facts" },
      fact(
        "how-encoder",
        [encoder.name, encoder.dimension && t("how-dimension", { n: encoder.dimension })].filter(Boolean).join(" · "),
      ),
      encoder.fingerprint &&
        fact("how-fingerprint", h("code", { title: encoder.fingerprint }, encoder.fingerprint.slice(0, 12))),
      fact("how-question", parts(understood.terms ?? receipt.terms ?? [])),
      fact("how-rows", t("how-k", { k: receipt.k, first: (receipt.offset ?? 0) + 1 })),
      fact("how-search", receipt.exact ? t("how-exact") : t("how-index", { ef: receipt.ef_search })),
      background && fact("how-chance", chance(background)),
      fact("how-time", times(timings)),
    ),
    receipt.sql && statement(receipt.sql),
  );
}

/** @param {import("./types.js").TermEcho[]} terms */
function parts(terms) {
  const weight = (/** @type {number} */ value) =>
    formatNumber(value, { maximumFractionDigits: 2, signDisplay: "exceptZero" });
  return h(
    "ul",
    { class: "how-terms" },
    terms.map((term) =>
      h(
        "li",
        null,
        h("span", { class: "how-weight" }, weight(term.weight)),
        " ",
        termName(term),
        term.truncated && h("em", null, ` ${t("how-truncated")}`),
      ),
    ),
  );
}

/** @param {{mean: number | null, chance: number | null}} background */
function chance({ mean, chance: reached }) {
  const average = t("how-average", { mean: formatScore(mean ?? 0) });
  return reached === null ? average : `${average}; ${t("how-near", { chance: formatScore(reached) })}`;
}

/** @param {{encode: number, database: number, total: number}} timings */
function times({ encode, database, total }) {
  return t("how-timings", {
    encode: formatMilliseconds(encode),
    database: formatMilliseconds(database),
    total: formatMilliseconds(total),
  });
}

/** @param {string} sql */
function statement(sql) {
  const onclick = () => copy(sql, button);
  const button = h("button", { type: "button", class: "button", onclick }, icon("copy"), t("how-copy"));
  return h(
    "div",
    { class: "how-sql" },
    h("div", { class: "how-sql-head" }, h("p", null, t("how-sql")), button),
    h("pre", { tabindex: 0, role: "region", "aria-label": "SQL" }, h("code", null, sql)),
  );
}

/**
 * @param {string} key
 * @param {Node | string} value
 */
function fact(key, value) {
  return h("div", null, h("dt", null, t(key)), h("dd", null, value));
}
