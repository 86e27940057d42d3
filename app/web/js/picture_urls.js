/** Addresses, for this page alone, of pictures that the user brings. */

/** @type {Map<Blob, string>} */
const urls = new Map();

/**
 * Return an address of a picture for this page; the same one every time.
 * @param {Blob} blob
 */
export function urlOf(blob) {
  const url = urls.get(blob) ?? URL.createObjectURL(blob);
  urls.set(blob, url);
  return url;
}

/** Let go of every picture that urlOf gave an address to. */
export function forgetUrls() {
  for (const url of urls.values()) URL.revokeObjectURL(url);
  urls.clear();
}
