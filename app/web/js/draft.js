/** The question being put together: the words in the box, the other parts, the filters. Knows nothing of elements. */

import { MOST_PARTS, alphaOf, balanced, noFilters, rebalanced, textPart } from "./question.js";

/** @typedef {import("./question.js").Question} Question */
/** @typedef {import("./question.js").Part} Part */
/** @typedef {import("./question.js").PicturePart} PicturePart */
/** @typedef {import("./types.js").Filters} Filters */

export const WORDS_KEY = 0;

export class Draft {
  constructor() {
    this.words = textPart("");
    /** @type {Part[]} */
    this.others = [];
    this.filters = noFilters();
    this.keys = WORDS_KEY;
  }

  /** @returns {Part[]} the words first, if there are any */
  get parts() {
    const text = this.words.text.trim();
    return text ? [{ ...this.words, text, key: WORDS_KEY }, ...this.others] : this.others;
  }

  /** @returns {Question} */
  get question() {
    return { parts: this.parts, filters: this.filters };
  }

  /** @param {Question} question */
  load({ parts, filters }) {
    const [first, ...rest] = parts;
    const words = first?.kind === "text" ? first : null;
    this.words = words ? { ...words } : textPart("");
    this.others = (words ? rest : parts).map((part) => this.#withKey(part));
    this.filters = filters;
  }

  /**
   * Change the words; where there were none, or are none now, every part gets its share anew.
   * @param {string} text
   * @returns {boolean} whether there were none, or are none now
   */
  setText(text) {
    const before = this.parts;
    const appears = text.trim() !== "" && !this.words.text.trim();
    this.words = appears ? textPart(text) : { ...this.words, text };
    if (this.parts.length === before.length) return false;
    this.#set(balanced(this.parts, alphaOf(before)));
    return true;
  }

  /**
   * Add a part and give every part its share.
   * @param {Part} part
   * @returns {number | null} its key; null if there are as many parts as a question may have
   */
  add(part) {
    const before = this.parts;
    if (before.length >= MOST_PARTS) return null;
    const added = this.#withKey(part);
    this.#set(balanced([...before, added], alphaOf(before)));
    return added.key ?? null;
  }

  /** @param {number} key */
  remove(key) {
    const alpha = alphaOf(this.parts);
    if (key === WORDS_KEY) this.words = textPart("");
    this.others = this.others.filter((part) => part.key !== key);
    this.#set(balanced(this.parts, alpha));
  }

  /**
   * Set a weight by hand.
   * @param {number} key
   * @param {number} weight
   */
  setWeight(key, weight) {
    this.#set(this.parts.map((part) => (part.key === key ? { ...part, weight, pinned: true } : part)));
  }

  /** @param {number} alpha share of the words */
  setAlpha(alpha) {
    this.#set(rebalanced(this.parts, alpha));
  }

  /**
   * Change what is known of a picture.
   * @param {number} key
   * @param {Partial<PicturePart>} changes
   */
  change(key, changes) {
    this.others = this.others.map((part) => (part.key === key ? /** @type {Part} */ ({ ...part, ...changes }) : part));
  }

  /** Make the words a part of their own, so that others can be written beside them. */
  wordsToPart() {
    const [words] = this.parts;
    if (words?.key !== WORDS_KEY) return;
    this.others = [...this.others, this.#withKey(words)];
    this.words = textPart("");
  }

  /** @returns {number} how many pictures of the user's own it holds */
  get pictures() {
    return this.others.filter((part) => part.kind === "picture").length;
  }

  /** @param {Part[]} parts the same parts as there are, with other weights */
  #set(parts) {
    const words = parts.find((part) => part.key === WORDS_KEY);
    if (words) this.words = { ...this.words, weight: words.weight, pinned: words.pinned };
    this.others = parts.filter((part) => part !== words);
  }

  /**
   * @param {Part} part
   * @returns {Part}
   */
  #withKey(part) {
    return { ...part, key: ++this.keys };
  }
}
