/** Small choices kept in this browser: theme, language, how answers are shown. Forbidden storage forgets them. */

/**
 * @param {string} name
 * @returns {string | null}
 */
export function recall(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/**
 * @param {string} name
 * @param {string} value
 */
export function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // storage is full or forbidden: the choice lasts until the page is left
  }
}
