/** One picture found, as a tile whose size is known before the picture is loaded. */

import { h, iconButton } from "./dom.js";
import { formatNumber, t } from "./strings.js";

/** @typedef {import("./types.js").Hit} Hit */

const NARROWEST = 0.5;
const WIDEST = 2.8;
const ACTIONS = /** @type {const} */ (["more-like", "less-like", "add", "download"]);

/** @typedef {(typeof ACTIONS)[number]} TileAction */

/**
 * Return a tile. Its grid listens for all of them: buttons say what they do in data-action.
 * @param {Hit} hit
 */
export function tile(hit) {
  const name = hitName(hit);
  return h(
    "li",
    { class: "tile", dataset: { testid: "hit", id: hit.id }, style: { "--ratio": ratio(hit) } },
    h(
      "a",
      { class: "tile-open", href: hit.image_url, tabindex: -1, title: hit.captions.join("\n") || hit.uri },
      h("img", {
        src: hit.thumbnail_url,
        alt: "",
        width: hit.width,
        height: hit.height,
        loading: "lazy",
        decoding: "async",
      }),
      h("span", { class: "tile-caption" }, h("span", null, name)),
    ),
    h("span", { class: "tile-score", title: scoresInWords(hit) }, score(hit.score)),
    h(
      "label",
      { class: "tile-select" },
      h("input", { type: "checkbox", tabindex: -1, "aria-label": t("select", { name }) }),
    ),
    iconButton("dots", t("what-to-do", { name }), {
      class: "tile-menu",
      tabindex: -1,
      "aria-expanded": false,
      dataset: { action: "menu" },
    }),
    h(
      "div",
      { class: "tile-actions" },
      ACTIONS.map((action) => iconButton(action, t(action), { tabindex: -1, dataset: { action } })),
    ),
  );
}

/**
 * Return grey tiles of usual shapes, for pictures that are still being looked for.
 * @param {number} count
 */
export function skeletonTiles(count) {
  const shapes = [1.5, 0.75, 1.33, 1, 1.33, 1.78, 0.67, 1.5];
  return Array.from({ length: count }, (_, index) =>
    h("li", { class: "tile skeleton", "aria-hidden": true, style: { "--ratio": shapes[index % shapes.length] } }),
  );
}

/**
 * Return what a picture is called: its first caption, else its file.
 * @param {Hit} hit
 */
export function hitName(hit) {
  return hit.captions[0] || hit.uri;
}

/** @param {Hit} hit */
function ratio({ width, height }) {
  return Math.min(WIDEST, Math.max(NARROWEST, width / height || 1)).toFixed(4);
}

/** @param {Hit} hit */
function scoresInWords(hit) {
  const all = t("score-of", { score: score(hit.score) });
  const parts = hit.term_scores?.length > 1 ? t("term-scores", { scores: hit.term_scores.map(score).join(" · ") }) : "";
  return `${all} ${parts}`.trim();
}

/** @param {number} value */
function score(value) {
  return formatNumber(value, { minimumFractionDigits: 3, maximumFractionDigits: 3 });
}
