/** What the parts of a question are called. */

import { t } from "./strings.js";
import "./strings_views.js";

/** @typedef {import("./types.js").TermEcho} Term */

/**
 * Return a part's name: its words in quotes, or which kind of picture it is.
 * @param {Term} term
 */
export function termName(term) {
  if (term.kind === "text") return t("term-text", { text: term.text ?? "" });
  if (term.region) return t("term-region");
  return t(term.kind === "image_id" ? "term-gallery" : "term-picture");
}
