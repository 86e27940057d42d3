/** What stands above an answer's pictures: that it is coming, its words, or why there is none. */

import { h } from "./dom.js";
import { problemCard } from "./problems.js";
import { prose } from "./prose.js";
import { areSet } from "./question.js";
import { t } from "./strings.js";

/** @typedef {import("./dom.js").Child} Child */
/** @typedef {import("./turn.js").Turn} Turn */
/** @typedef {import("./problems.js").WaysOn & {onUnfilter: () => void}} WaysOn */

/**
 * Return the head of an answer in the state that it is in.
 * @param {Turn} turn
 * @param {WaysOn} on
 * @returns {Child[]}
 */
export function answerHead(turn, on) {
  if (turn.state === "asking" && !turn.html) return [typing(t(turn.understood ? "comparing" : "reading"))];
  const nothing = turn.state === "done" && !turn.hits.length;
  return [
    turn.understood?.terms.some((term) => term.truncated) && h("p", { class: "hint" }, t("truncated")),
    turn.html && !nothing && folded(h("div", { class: "prose" }, prose(turn.html))),
    turn.state === "stopped" && h("p", { class: "stopped" }, t("stopped"), button("ask-again", on.onRetry)),
    turn.state === "failed" && turn.problem && problemCard(turn.problem, on),
    nothing && nothingFound(turn, on),
  ];
}

/** @param {string} words */
function typing(words) {
  const dots = h("span", { class: "dots", "aria-hidden": true }, h("i"), h("i"), h("i"));
  return h("p", { class: "typing", dataset: { testid: "typing" } }, dots, words);
}

/**
 * Show the beginning of a long text, so that the pictures stay where they are, and the rest on demand.
 * @param {HTMLElement} text
 */
function folded(text) {
  const more = h(
    "button",
    { type: "button", class: "more-text", "aria-expanded": false, hidden: true },
    t("read-more"),
  );
  const element = h("div", { class: "answer-words folded" }, text, more);
  const unfold = (/** @type {boolean} */ open) => {
    element.classList.toggle("folded", !open);
    more.setAttribute("aria-expanded", String(open));
    more.textContent = t(open ? "read-less" : "read-more");
  };
  more.addEventListener("click", () => unfold(element.classList.contains("folded")));
  text.addEventListener("focusin", () => unfold(true));
  new ResizeObserver(() => {
    if (element.classList.contains("folded")) more.hidden = text.scrollHeight <= text.clientHeight + 4;
  }).observe(text);
  return element;
}

/**
 * @param {Turn} turn
 * @param {WaysOn} on
 */
function nothingFound(turn, { onEdit, onUnfilter }) {
  const unfilter = areSet(turn.question.filters) && button("ask-unfiltered", onUnfilter);
  const words = turn.html ? h("div", { class: "prose" }, prose(turn.html)) : h("p", null, t("nothing-found"));
  return h(
    "div",
    { class: "problem calm", dataset: { testid: "no-results" } },
    words,
    h("div", { class: "ways-on" }, unfilter, button("edit-question", onEdit)),
  );
}

/**
 * @param {string} key
 * @param {() => void} onclick
 */
function button(key, onclick) {
  return h("button", { type: "button", class: "button", onclick }, t(key));
}
