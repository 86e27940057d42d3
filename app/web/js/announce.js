/** What a screen reader says without moving: one polite live region for the whole page. */

import { byId } from "./dom.js";

const PAUSE_MS = 120;

/** @type {string[]} what is said once the pause is over, none lost to what came right after it */
let waiting = [];

/**
 * Say a text once what is being said now is over.
 * @param {string} text
 */
export function announce(text) {
  const region = byId("status");
  region.textContent = ""; // the same words again are news only after a gap
  waiting.push(text);
  if (waiting.length > 1) return;
  window.setTimeout(() => {
    region.textContent = waiting.join(". ");
    waiting = [];
  }, PAUSE_MS);
}
