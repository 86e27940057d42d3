/** Style sheets of rooms that are opened later, and not at all on most visits. */

import { h } from "./dom.js";

/** @type {Map<string, Promise<void>>} */
const loaded = new Map();

/**
 * Load a style sheet, once; a room that cannot have it is shown without, and the next one tries again.
 * @param {"views" | "rooms"} name
 * @returns {Promise<void>}
 */
export function sheet(name) {
  const known = loaded.get(name);
  if (known) return known;
  const loading = /** @type {Promise<void>} */ (
    new Promise((resolve) => {
      const done = () => resolve();
      const failed = () => {
        loaded.delete(name);
        link.remove();
        resolve();
      };
      const link = h("link", { rel: "stylesheet", href: `/assets/${name}.css`, onload: done, onerror: failed });
      document.head.append(link);
    })
  );
  loaded.set(name, loading);
  return loading;
}
