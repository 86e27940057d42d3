/**
 * A question: weighted parts (words, pictures, pictures of the gallery) and filters. Everything here is a pure
 * function of a question; what the chips show is what is sent.
 */

/** @typedef {import("./types.js").Filters} Filters */
/** @typedef {import("./types.js").Hit} Hit */
/** @typedef {import("./types.js").Region} Region */
/** @typedef {import("./types.js").TermEcho} TermEcho */

/**
 * @typedef {{weight: number, pinned?: boolean, key?: number}} Weighed
 * pinned: set by hand, so balancing leaves it alone; key: tells parts apart while they are edited
 */
/** @typedef {Weighed & {kind: "text", text: string}} TextPart */
/**
 * @typedef {Weighed & {kind: "picture", name: string, picture: Blob | null, thumbnail: Blob | null,
 *   embedding: string | null, region: Region | null}} PicturePart
 * A picture of the user's own. The service returns its embedding, which then stands for it.
 */
/** @typedef {Weighed & {kind: "gallery", image_id: string, title: string, region: Region | null}} GalleryPart */
/** @typedef {TextPart | PicturePart | GalleryPart} Part */
/** @typedef {{parts: Part[], filters: Filters}} Question */

export const DEFAULT_ALPHA = 0.6;
export const MOST_PICTURES = 5;
export const MOST_PARTS = 20;
export const PAGE_SIZE = 24;
/** Weight of a picture that answers should be unlike; pictures resemble each other more than they do words. */
export const UNLIKE_WEIGHT = -0.25;

/** @returns {Filters} */
export function noFilters() {
  return { collection: null, attributes: null, taken_from: null, taken_to: null, sort: "relevance" };
}

/**
 * Tell whether filters leave anything out, or change the order.
 * @param {Filters} filters
 */
export function areSet({ sort, ...others }) {
  return sort !== "relevance" || Object.values(others).some((value) => value !== null);
}

/**
 * @param {string} text
 * @returns {TextPart}
 */
export function textPart(text) {
  return { kind: "text", text, weight: 1 };
}

/**
 * @param {{id: string, captions: string[], uri: string}} hit
 * @param {Region | null} [region]
 * @returns {GalleryPart}
 */
export function galleryPart(hit, region = null) {
  return { kind: "gallery", image_id: hit.id, title: hit.captions[0] ?? hit.uri, region, weight: 1 };
}

/**
 * Return the parts with weights for alpha, the share of the words: words have alpha together, pictures the rest.
 * Negative and pinned weights stay.
 * @param {Part[]} parts
 * @param {number} alpha
 * @returns {Part[]}
 */
export function balanced(parts, alpha) {
  const free = parts.filter((part) => part.weight >= 0 && !part.pinned);
  const words = free.filter((part) => part.kind === "text").length;
  const pictures = free.length - words;
  const [wordsShare, picturesShare] = hasBoth(parts) ? [alpha, 1 - alpha] : [1, 1];
  return parts.map((part) => {
    if (!free.includes(part)) return part;
    return { ...part, weight: part.kind === "text" ? rounded(wordsShare / words) : rounded(picturesShare / pictures) };
  });
}

/**
 * Return the parts as the slider sets them: every weight that is not negative, those set by hand too.
 * @param {Part[]} parts
 * @param {number} alpha
 */
export function rebalanced(parts, alpha) {
  return balanced(
    parts.map((part) => (part.weight >= 0 ? { ...part, pinned: false } : part)),
    alpha,
  );
}

/**
 * Return the share of the words in what is asked for; the usual one where there is nothing to share.
 * @param {Part[]} parts
 */
export function alphaOf(parts) {
  const sum = (/** @type {boolean} */ words) =>
    parts.reduce((total, part) => total + ((part.kind === "text") === words ? Math.max(0, part.weight) : 0), 0);
  const [words, pictures] = [sum(true), sum(false)];
  return !hasBoth(parts) || words + pictures === 0 ? DEFAULT_ALPHA : words / (words + pictures);
}

/**
 * Tell whether there are both words and pictures to balance.
 * @param {Part[]} parts
 */
export function hasBoth(parts) {
  const asked = parts.filter((part) => part.weight >= 0);
  return asked.some((part) => part.kind === "text") && asked.some((part) => part.kind !== "text");
}

/**
 * Tell whether the parts have the weights that they get by themselves.
 * @param {Part[]} parts
 */
export function hasUsualWeights(parts) {
  const usual = balanced(
    parts.map((part) => ({ ...part, weight: 1, pinned: false })),
    DEFAULT_ALPHA,
  );
  return parts.every((part, index) => part.weight === usual[index]?.weight);
}

/**
 * Return what POST /api/ask and /api/search take. Pictures of the gallery that are part of the question do not
 * answer it.
 * @param {Question} question
 * @returns {Promise<Record<string, any>>}
 */
export async function requestBody({ parts, filters }) {
  const inQuestion = parts.flatMap((part) => (part.kind === "gallery" ? [part.image_id] : []));
  return {
    terms: await Promise.all(parts.map(term)),
    k: PAGE_SIZE,
    ...Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== null)),
    ...(inQuestion.length ? { exclude: [...new Set(inQuestion)] } : {}),
  };
}

/**
 * Return the question with the embeddings that the service returned for its pictures.
 * @param {Question} question
 * @param {TermEcho[]} terms
 * @returns {Question}
 */
export function withEmbeddings(question, terms) {
  const parts = question.parts.map((part, index) =>
    part.kind === "picture" ? { ...part, embedding: terms[index]?.embedding ?? part.embedding } : part,
  );
  return { ...question, parts };
}

/**
 * Return a question for what is more like a picture found (or like a region of it).
 * @param {Question} question
 * @param {Hit} hit
 * @returns {Question}
 */
export function moreLike(question, hit) {
  const alpha = alphaOf(question.parts);
  return { ...question, parts: balanced([...without(question.parts, hit.id), galleryPart(hit)], alpha) };
}

/**
 * Return a question for what is less like a picture found.
 * @param {Question} question
 * @param {Hit} hit
 * @returns {Question}
 */
export function lessLike(question, hit) {
  const unlike = { ...galleryPart(hit), weight: UNLIKE_WEIGHT, pinned: true };
  return { ...question, parts: [...without(question.parts, hit.id), unlike] };
}

/**
 * @param {Part[]} parts
 * @param {string} imageId
 */
function without(parts, imageId) {
  return parts.filter((part) => part.kind !== "gallery" || part.image_id !== imageId);
}

/**
 * @param {Part} part
 * @returns {Promise<Record<string, any>>}
 */
async function term(part) {
  const { weight } = part;
  if (part.kind === "text") return { text: part.text, weight };
  if (part.kind === "picture" && part.embedding) return { embedding: part.embedding, weight };
  const region = part.region ? { region: part.region } : {};
  if (part.kind === "gallery") return { image_id: part.image_id, weight, ...region };
  const sent = part.picture ?? part.thumbnail; // the history has only the thumbnail
  return { image: sent ? await asDataUri(sent) : "", weight, ...region };
}

/**
 * @param {Blob} blob
 * @returns {Promise<string>}
 */
function asDataUri(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** @param {number} weight */
function rounded(weight) {
  return Math.round(1e4 * weight) / 1e4;
}
