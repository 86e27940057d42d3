/** Style sheets of rooms that are opened later, and not at all on most visits. */

import { h } from "./dom.js";

/** @type {Map<string, Promise<void>>} */
const loaded = new Map();

/**
 * Load a style sheet, once; a room that cannot have it is shown without.
 * @param {"views" | "rooms"} name
 * @returns {Promise<void>}
 */
export function sheet(name) {
  const known = loaded.get(name);
  if (known) return known;
  const loading = /** @type {Promise<void>} */ (
    new Promise((resolve) => {
      const done = () => resolve();
      document.head.append(h("link", { rel: "stylesheet", href: `/assets/${name}.css`, onload: done, onerror: done }));
    })
  );
  loaded.set(name, loading);
  return loading;
}
