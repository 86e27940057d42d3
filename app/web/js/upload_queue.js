/**
 * The pictures that are to be uploaded, and how far each is. It outlives the view that shows it: a person may
 * ask something while pictures are on their way.
 */

import { ApiError } from "./api.js";
import { attributesOf, roomForFile, sendPicture } from "./upload_sending.js";

/** @typedef {import("./upload_sending.js").Pairs} Pairs */
/** @typedef {"ready" | "waiting" | "sending" | "added" | "known" | "failed" | "refused"} State */

/**
 * @typedef {object} Item
 * @property {File} file
 * @property {string} preview
 * @property {string} captions one a line
 * @property {Pairs} attributes
 * @property {State} state refused: not even sent
 * @property {number} share of the bytes sent, 0..1
 * @property {ApiError | null} error
 * @property {AbortController | null} stop
 */

const AT_ONCE = 3;
const REMEMBERED_KEY = "write-key";

export class UploadQueue {
  /** @type {Item[]} */
  items = [];
  collection = "uploads";
  /** @type {Pairs} */
  attributes = [];
  limit = Infinity;
  /** @type {(item: Item | null) => void} told of every change; null: the list itself, or a setting */
  onChange = () => {};
  #key = rememberedKey();

  get key() {
    return this.#key;
  }

  /** Keep the key until the tab is closed. */
  set key(key) {
    this.#key = key;
    try {
      sessionStorage.setItem(REMEMBERED_KEY, key);
    } catch {
      // storage is forbidden: kept until the page is left
    }
  }

  /**
   * Put files on the list; return how many were on it already.
   * @param {Iterable<File>} files
   */
  add(files) {
    const nameOf = (/** @type {File} */ file) => `${file.name}/${file.size}/${file.lastModified}`;
    const there = new Set(this.items.map((item) => nameOf(item.file)));
    let again = 0;
    for (const file of files) {
      if (there.has(nameOf(file))) {
        again++;
        continue;
      }
      there.add(nameOf(file));
      /** @type {Item} */
      const item = {
        file,
        preview: URL.createObjectURL(file),
        captions: "",
        attributes: [],
        state: "ready",
        share: 0,
        error: null,
        stop: null,
      };
      this.#check(item);
      this.items.push(item);
    }
    this.onChange(null);
    return again;
  }

  /** @param {Item} item */
  remove(item) {
    item.stop?.abort();
    URL.revokeObjectURL(item.preview);
    this.items = this.items.filter((other) => other !== item);
    this.onChange(null);
  }

  /** Take those off the list that are in the gallery. */
  removeFinished() {
    for (const item of this.items.filter(isFinished)) this.remove(item);
  }

  /** Send all that are ready, and those that failed once more. */
  start() {
    for (const item of this.items) {
      this.#check(item);
      if (item.state === "ready" || item.state === "failed") this.#set(item, "waiting");
    }
    this.#sendNext();
  }

  /** @param {Item} item */
  retry(item) {
    this.#check(item);
    if (item.state !== "refused") this.#set(item, "waiting");
    this.#sendNext();
  }

  /** @param {Item} item */
  cancel(item) {
    item.stop?.abort();
    this.#set(item, "ready");
  }

  cancelAll() {
    for (const item of this.items.filter(isUnderWay)) this.cancel(item);
  }

  /** Look again at those that were refused: a caption was shortened, or the limit is known by now. */
  recheck() {
    for (const item of this.items) this.#check(item);
  }

  /**
   * @param {...State} states
   * @returns {number}
   */
  count(...states) {
    return this.items.filter((item) => states.includes(item.state)).length;
  }

  get busy() {
    return this.items.some(isUnderWay);
  }

  /** @param {Item} item */
  #check(item) {
    if (item.state !== "ready" && item.state !== "refused") return;
    const { file } = item;
    const room = roomForFile(this.limit, [item.captions, JSON.stringify([item.attributes, this.attributes])]);
    let status = 0;
    if (file.type && !file.type.startsWith("image/")) status = 415;
    else if (file.size > room) status = 413;
    else if (file.size === 0) status = 422;
    item.error = status ? new ApiError(status, "refused", "") : null;
    item.state = status ? "refused" : "ready";
    this.onChange(item);
  }

  /**
   * @param {Item} item
   * @param {State} state
   * @param {ApiError | null} [error]
   */
  #set(item, state, error = null) {
    Object.assign(item, { state, error, share: 0 });
    this.onChange(item);
  }

  #sendNext() {
    const free = AT_ONCE - this.count("sending");
    for (const item of this.items.filter((each) => each.state === "waiting").slice(0, free)) this.#send(item);
  }

  /** @param {Item} item */
  async #send(item) {
    const stop = new AbortController();
    item.stop = stop;
    this.#set(item, "sending");
    const parcel = {
      file: item.file,
      captions: item.captions
        .split("\n")
        .map((line) => line.trim())
        .filter(Boolean),
      attributes: { ...attributesOf(this.attributes), ...attributesOf(item.attributes) },
      collection: this.collection.trim(),
      key: this.key,
    };
    const onProgress = (/** @type {number} */ share) => {
      item.share = share;
      this.onChange(item);
    };
    try {
      const isNew = await sendPicture(parcel, { signal: stop.signal, onProgress });
      this.#set(item, isNew ? "added" : "known");
    } catch (error) {
      if (!stop.signal.aborted)
        this.#fail(item, error instanceof ApiError ? error : new ApiError(0, "", String(error)));
    }
    this.#sendNext();
  }

  /**
   * @param {Item} item
   * @param {ApiError} error
   */
  #fail(item, error) {
    this.#set(item, "failed", error);
    if (!isAboutKey(error)) return;
    for (const other of this.items.filter((each) => each.state === "waiting")) this.#set(other, "ready"); // same key, same answer
  }
}

/** @param {Item} item */
export function isUnderWay(item) {
  return item.state === "waiting" || item.state === "sending";
}

/** @param {Item} item */
export function isFinished(item) {
  return item.state === "added" || item.state === "known";
}

/**
 * Say whether the service wants a key, or another one.
 * @param {ApiError | null} error
 */
export function isAboutKey(error) {
  return error?.status === 401 || error?.status === 403;
}

function rememberedKey() {
  try {
    return sessionStorage.getItem(REMEMBERED_KEY) ?? "";
  } catch {
    return "";
  }
}
