/** What a room shows when the service did not answer it. */

import { ApiError } from "./api.js";
import { h } from "./dom.js";
import { inWords } from "./problems.js";
import { t } from "./strings.js";
import "./strings_rooms.js";

/**
 * Return what went wrong in plain words, with a button to try again.
 * @param {unknown} error
 * @param {() => void} onRetry
 */
export function roomTrouble(error, onRetry) {
  const words =
    error instanceof ApiError && error.status !== 0 ? inWords(error) : { title: t("rooms-unreachable"), text: "" };
  return h(
    "div",
    { class: "room-error", role: "alert" },
    h("p", null, words.title),
    words.text && h("p", null, words.text),
    h("button", { type: "button", class: "button", onclick: onRetry }, t("try-again")),
  );
}
