/** Taking pictures home: one file, many in a zip, or what is known about them as JSON. */

import { send } from "./api.js";
import { h } from "./dom.js";

/** @typedef {import("./types.js").Hit} Hit */

export const MOST_IN_A_ZIP = 200;

/**
 * Save the original file of a hit under its own name.
 * @param {Hit} hit
 */
export function downloadOne(hit) {
  save(hit.image_url, fileName(hit));
}

/**
 * Save the original files of these pictures; more than a zip may hold come as several.
 * @param {string[]} ids
 * @returns {Promise<void>}
 */
export async function downloadZip(ids) {
  const parts = Math.ceil(ids.length / MOST_IN_A_ZIP);
  for (let part = 0; part < parts; part++) {
    const body = JSON.stringify({ ids: ids.slice(part * MOST_IN_A_ZIP, (part + 1) * MOST_IN_A_ZIP) });
    const headers = { "content-type": "application/json" };
    const response = await send("/api/images/zip", { method: "POST", headers, body });
    saveBlob(await response.blob(), parts === 1 ? "pictures.zip" : `pictures-${part + 1}-of-${parts}.zip`);
  }
}

/**
 * Save hits, with the question that found them.
 * @param {Hit[]} hits
 * @param {unknown} [query] the question as the server understood it
 */
export function downloadJson(hits, query = null) {
  const text = JSON.stringify({ query, hits }, null, 2);
  saveBlob(new Blob([text], { type: "application/json" }), "pictures.json");
}

/**
 * Return a hit's file name without its folders.
 * @param {Hit} hit
 */
export function fileName(hit) {
  return hit.uri.split(/[/\\]/).at(-1) || hit.id;
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  save(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser reads it after this call returns
}

/**
 * @param {string} url
 * @param {string} name
 */
function save(url, name) {
  const link = h("a", { href: url, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
}
