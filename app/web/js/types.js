/** What travels between the API and the page's rooms, for the type checker; no browser loads this file. */

/**
 * @typedef {object} Hit one picture found; see HitAnswer in the API's documentation
 * @property {number} rank
 * @property {string} id
 * @property {number} score cosine similarity with the question
 * @property {number[]} term_scores cosine similarity with each term, in the question's order
 * @property {number | null} [percentile] of a hundred random pictures, how many score less
 * @property {string[]} captions
 * @property {string} collection
 * @property {string} uri
 * @property {number} width
 * @property {number} height
 * @property {string} format
 * @property {number} byte_size
 * @property {string | null} taken_at
 * @property {Record<string, any>} attributes
 * @property {string} image_url
 * @property {string} thumbnail_url
 */

/** @typedef {{x: number, y: number, width: number, height: number}} Region fractions of the upright picture */

/**
 * @typedef {object} TermEcho a part of the question as the service understood it
 * @property {"text" | "image" | "image_id" | "embedding"} kind
 * @property {string | null} text
 * @property {string | null} image_id
 * @property {number} weight
 * @property {boolean} truncated
 * @property {Region | null} region
 * @property {string | null} embedding base64 of float16
 */

/** @typedef {{terms: TermEcho[], [name: string]: any}} Understood */

/**
 * @typedef {object} Done
 * @property {{encode: number, database: number, total: number}} timings_ms
 * @property {{mean: number | null, chance: number | null, nothing_near: boolean | null} | null} [background]
 * @property {Record<string, any>} receipt
 * @property {boolean} more
 */

/**
 * @typedef {object} Filters
 * @property {string | null} collection
 * @property {Record<string, any> | null} attributes
 * @property {string | null} taken_from
 * @property {string | null} taken_to
 * @property {"relevance" | "newest" | "oldest"} sort
 */

/**
 * @typedef {object} Actions what can be done with a picture found
 * @property {(hit: Hit) => void} moreLike
 * @property {(hit: Hit) => void} lessLike
 * @property {(hit: Hit, options?: {weight?: number, region?: Region | null}) => void} addToQuestion
 * @property {(hit: Hit, region: Region) => void} searchRegion
 */

export {};
