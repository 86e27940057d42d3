/** The question as it was asked: pictures, words, weights where they say something, filters. */

import { addressOf } from "./address.js";
import { partName, thumbnail, weightText } from "./chips.js";
import { copy } from "./copying.js";
import { h, iconButton } from "./dom.js";
import { hasUsualWeights } from "./question.js";
import { language, t } from "./strings.js";

/** @typedef {import("./question.js").Question} Question */
/** @typedef {import("./question.js").Part} Part */
/** @typedef {import("./types.js").Filters} Filters */

/**
 * Return the bubble of a question.
 * @param {Question} question
 * @param {{onEdit: () => void}} on
 */
export function questionBubble(question, { onEdit }) {
  const { parts, filters } = question;
  const weighed = !hasUsualWeights(parts);
  const link = iconButton("link", t("copy-link"), { onclick: () => copy(linkTo(question), link) });
  return h(
    "div",
    { class: "question" },
    h("div", { class: "bubble-tools" }, link, iconButton("edit", t("edit-question"), { onclick: onEdit })),
    h(
      "div",
      { class: "bubble", dataset: { testid: "question-bubble" } },
      h("h2", { class: "visually-hidden" }, t("your-question")),
      h(
        "ul",
        { class: "bubble-parts" },
        parts.map((part) => bubblePart(part, weighed)),
      ),
      filterTags(filters),
    ),
  );
}

/**
 * @param {Part} part
 * @param {boolean} weighed
 */
function bubblePart(part, weighed) {
  const weight =
    weighed &&
    h(
      "span",
      { class: part.weight < 0 ? "badge negative" : "badge", title: t("weight-of", { name: partName(part) }) },
      weightText(part.weight),
    );
  if (part.kind === "text") return h("li", { class: "bubble-words" }, h("span", null, part.text), weight);
  return h("li", { class: "bubble-picture" }, thumbnail(part), weight);
}

/** @param {Filters} filters */
function filterTags({ collection, attributes, taken_from, taken_to, sort }) {
  const date = (/** @type {string} */ text) => new Date(text).toLocaleDateString(language(), { dateStyle: "medium" });
  const tags = [
    collection && t("in-collection", { name: collection }),
    ...Object.entries(attributes ?? {}).map(
      ([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`,
    ),
    taken_from && t("from-date", { date: date(taken_from) }),
    taken_to && t("to-date", { date: date(taken_to) }),
    sort !== "relevance" && t(`sort-${sort}`),
  ].filter(Boolean);
  return (
    tags.length > 0 &&
    h(
      "ul",
      { class: "tags" },
      tags.map((tag) => h("li", { class: "tag" }, tag)),
    )
  );
}

/** @param {Question} question */
function linkTo(question) {
  return new URL(addressOf(question) ?? "#/", location.href).href;
}
