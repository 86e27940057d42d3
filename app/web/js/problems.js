/** What went wrong with a question, in plain words, and the ways on. */

import { h } from "./dom.js";
import { t } from "./strings.js";

/** @typedef {{status: number, title: string, detail: string}} Problem */
/** @typedef {{onRetry: () => void, onEdit: () => void}} WaysOn */

const KNOWN = [0, 401, 403, 404, 409, 413, 422, 429, 503, 504];
const OF_THE_QUESTION = [404, 413, 422];

/**
 * Return a problem as it is shown.
 * @param {Problem} problem
 * @param {WaysOn} on
 */
export function problemCard(problem, { onRetry, onEdit }) {
  const { title, text } = inWords(problem);
  return h(
    "div",
    { class: "problem", role: "group", "aria-label": title, dataset: { testid: "error", status: problem.status } },
    h("p", { class: "problem-title" }, title),
    h("p", null, text),
    h(
      "div",
      { class: "ways-on" },
      h("button", { type: "button", class: "button", onclick: onRetry }, t("try-again")),
      OF_THE_QUESTION.includes(problem.status) &&
        h("button", { type: "button", class: "button", onclick: onEdit }, t("edit-question")),
      problem.status === 409 && h("a", { class: "button", href: "#/upload" }, t("upload-pictures")),
    ),
  );
}

/**
 * Return a problem in words: ours where we know it, with what the service said where that helps.
 * @param {Problem} problem
 */
export function inWords({ status, title, detail }) {
  const brokeOff = status === 0 && title === "broken off";
  const key = brokeOff ? "broken-off" : KNOWN.includes(status) ? status : "other";
  const said = status === 0 ? "" : detail || title;
  return { title: t(`problem-${key}`), text: t(`problem-${key}-text`, { said }).trim() };
}
