/** What a screen reader says without moving: one polite live region for the whole page. */

import { byId } from "./dom.js";

const PAUSE_MS = 120;

let timer = 0;

/**
 * Say a text once what is being said now is over.
 * @param {string} text
 */
export function announce(text) {
  const region = byId("status");
  region.textContent = ""; // the same words again are news only after a gap
  clearTimeout(timer);
  timer = window.setTimeout(() => {
    region.textContent = text;
  }, PAUSE_MS);
}
