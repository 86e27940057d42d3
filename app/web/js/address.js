/**
 * A question as an address and back: `#/?text=a+red+boat&weight=0.6&image=<id>&weight=0.4&sort=newest`.
 *
 * The keys text, image (a picture of the gallery) and vector (an uploaded picture, as the embedding that the service
 * returned) each begin a part; weight and region belong to the part before them. It all stands behind the #, so it
 * is never sent with the page's address. What comes from an address is checked like any other input.
 */

import { DEFAULT_ALPHA, MOST_PARTS, balanced, hasUsualWeights, noFilters, textPart } from "./question.js";

/** @typedef {import("./question.js").Question} Question */
/** @typedef {import("./question.js").Part} Part */
/** @typedef {import("./types.js").Filters} Filters */
/** @typedef {import("./types.js").Region} Region */

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const VECTOR = /^[\w-]{4,16000}$/;
const SORTS = /** @type {const} */ (["relevance", "newest", "oldest"]);

/**
 * Return the address of a question; null while it holds a picture whose embedding is not known yet.
 * @param {Question} question
 * @returns {string | null}
 */
export function addressOf({ parts, filters }) {
  const address = new URLSearchParams();
  const weighted = !hasUsualWeights(parts);
  for (const part of parts) {
    if (part.kind === "text") address.append("text", part.text);
    else if (part.kind === "gallery") address.append("image", part.image_id);
    else if (part.embedding) address.append("vector", toUrlSafe(part.embedding));
    else return null;
    if (weighted) address.append("weight", String(part.weight));
    if (part.kind === "gallery" && part.region) address.append("region", regionText(part.region));
  }
  for (const [name, value] of Object.entries(filterTexts(filters))) if (value) address.append(name, value);
  return `#/?${address}`;
}

/**
 * Return the question that an address holds; null if it holds none.
 * @param {string} hash
 * @returns {Question | null}
 */
export function questionIn(hash) {
  const address = new URLSearchParams(hash.replace(/^#\/?\??/, ""));
  /** @type {Part[]} */
  const parts = [];
  let weighted = false;
  for (const [key, value] of address) {
    const begun = partFrom(key, value);
    const last = parts.at(-1);
    if (begun) parts.push(begun);
    else if (key === "weight" && last && isWeight(value)) {
      weighted = true;
      last.weight = Number(value);
      last.pinned = true;
    } else if (key === "region" && last?.kind === "gallery") last.region = regionFrom(value);
  }
  if (!parts.length) return null;
  const asked = parts.slice(0, MOST_PARTS);
  return { parts: weighted ? asked : balanced(asked, DEFAULT_ALPHA), filters: filtersIn(address) };
}

/**
 * @param {string} key
 * @param {string} value
 * @returns {Part | null}
 */
function partFrom(key, value) {
  if (key === "text" && value.trim()) return textPart(value);
  if (key === "image" && UUID.test(value)) {
    return { kind: "gallery", image_id: value.toLowerCase(), title: "", region: null, weight: 1 };
  }
  if (key === "vector" && VECTOR.test(value)) {
    const unknown = { name: "", picture: null, thumbnail: null, region: null };
    return { kind: "picture", ...unknown, embedding: fromUrlSafe(value), weight: 1 };
  }
  return null;
}

/**
 * @param {Filters} filters
 * @returns {Record<string, string | null>}
 */
function filterTexts(filters) {
  return {
    collection: filters.collection,
    attributes: filters.attributes && JSON.stringify(filters.attributes),
    from: filters.taken_from,
    to: filters.taken_to,
    sort: filters.sort === "relevance" ? null : filters.sort,
  };
}

/**
 * @param {URLSearchParams} address
 * @returns {Filters}
 */
function filtersIn(address) {
  return {
    ...noFilters(),
    collection: address.get("collection") || null,
    attributes: objectFrom(address.get("attributes")),
    taken_from: dateFrom(address.get("from")),
    taken_to: dateFrom(address.get("to")),
    sort: SORTS.find((sort) => sort === address.get("sort")) ?? "relevance",
  };
}

/**
 * @param {string | null} text
 * @returns {Record<string, any> | null}
 */
function objectFrom(text) {
  try {
    const value = JSON.parse(text ?? "null");
    return value && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** @param {string | null} text */
function dateFrom(text) {
  return text && /^\d{4}-\d{2}-\d{2}/.test(text) && !Number.isNaN(Date.parse(text)) ? text : null;
}

/** @param {string} text */
function isWeight(text) {
  return text.trim() !== "" && Math.abs(Number(text)) <= 1;
}

/** @param {Region} region */
function regionText({ x, y, width, height }) {
  return [x, y, width, height].map((share) => Number(share.toFixed(4))).join(",");
}

/**
 * @param {string} text
 * @returns {Region | null}
 */
function regionFrom(text) {
  const shares = text.split(",").map(Number);
  const [x = NaN, y = NaN, width = NaN, height = NaN] = shares;
  const inside =
    shares.length === 4 && x >= 0 && y >= 0 && width > 0 && height > 0 && x + width <= 1.0001 && y + height <= 1.0001;
  return inside ? { x, y, width, height } : null;
}

/** @param {string} base64 */
function toUrlSafe(base64) {
  return base64.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** @param {string} text */
function fromUrlSafe(text) {
  const base64 = text.replaceAll("-", "+").replaceAll("_", "/");
  return base64 + "=".repeat((4 - (base64.length % 4)) % 4);
}
