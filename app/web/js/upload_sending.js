/** Sending one picture: by XMLHttpRequest, which alone tells how much of a body has left. */

import { ApiError } from "./api.js";

/** @typedef {[key: string, value: string][]} Pairs */

/**
 * @typedef {object} Parcel what goes with a picture
 * @property {File} file
 * @property {string[]} captions
 * @property {Record<string, any>} attributes
 * @property {string} collection
 * @property {string} key "" where none is needed
 */

const RETRIES = 3;
const BUSY = new Set([429, 503]);
const ENVELOPE_BYTES = 4096;
/** What a form needs around the file; the service's limit is on the whole body. */

/**
 * Send a picture, again while the service is busy.
 * @param {Parcel} parcel
 * @param {{signal: AbortSignal, onProgress: (share: number) => void}} options
 * @returns {Promise<boolean>} whether the picture is new to the collection; an ApiError or AbortError otherwise
 */
export async function sendPicture(parcel, { signal, onProgress }) {
  for (let attempt = 1; ; attempt++) {
    const request = await post(parcel, signal, onProgress);
    if (request.status === 200 || request.status === 201) return request.status === 201;
    if (!BUSY.has(request.status) || attempt > RETRIES) throw problemOf(request);
    onProgress(0);
    await pause(Math.min(30, Number(request.getResponseHeader("retry-after")) || attempt), signal);
  }
}

/**
 * Return how many bytes may be in a file that goes with these words, when a body may have so many.
 * @param {number} limit
 * @param {string[]} words
 */
export function roomForFile(limit, words) {
  return limit - ENVELOPE_BYTES - new Blob(words).size;
}

/**
 * Return attributes as the API takes them: numbers, true and false as such, all else as words.
 * @param {Pairs} pairs
 * @returns {Record<string, any>}
 */
export function attributesOf(pairs) {
  const named = pairs
    .map(([key, value]) => /** @type {const} */ ([key.trim(), value.trim()]))
    .filter(([key, value]) => key && value);
  return Object.fromEntries(named.map(([key, value]) => [key, typed(value)]));
}

/** @param {string} value */
function typed(value) {
  if (value === "true" || value === "false") return value === "true";
  return String(Number(value)) === value && Number.isFinite(Number(value)) ? Number(value) : value; // not "007"
}

/**
 * @param {Parcel} parcel
 * @param {AbortSignal} signal
 * @param {(share: number) => void} onProgress
 * @returns {Promise<XMLHttpRequest>}
 */
function post({ file, captions, attributes, collection, key }, signal, onProgress) {
  const form = new FormData();
  form.append("image", file);
  form.append("collection", collection);
  for (const caption of captions) form.append("captions", caption);
  if (Object.keys(attributes).length > 0) form.append("attributes", JSON.stringify(attributes));
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    request.open("POST", "/api/images");
    if (key) request.setRequestHeader("x-api-key", key);
    request.upload.onprogress = ({ loaded, total }) => onProgress(total > 0 ? loaded / total : 0);
    request.upload.onload = () => onProgress(1);
    request.onload = () => resolve(request);
    request.onerror = () => reject(new ApiError(0, "unreachable", ""));
    request.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
}

/** @param {XMLHttpRequest} request */
function problemOf({ status, statusText, responseText }) {
  try {
    const { title, detail } = JSON.parse(responseText);
    return new ApiError(status, String(title ?? statusText), String(detail ?? ""));
  } catch {
    return new ApiError(status, statusText, ""); // a proxy's page, perhaps
  }
}

/**
 * @param {number} seconds
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
