/**
 * The conversation kept in this browser, in IndexedDB: questions with small pictures, and what answered them.
 * Storage may be full or forbidden; then HistoryError says so, and the page goes on without.
 */

/** @typedef {import("./turn.js").Turn} Turn */

const DATABASE = "image-retrieval";
const STORE = "turns";
const ASKED = "asked_at";
const MOST_TURNS = 60;
const MOST_HITS = 500; // of one answer; more are asked for again while scrolling

/** The browser does not keep the history; full tells whether for want of room. */
export class HistoryError extends Error {
  /** @param {unknown} cause */
  constructor(cause) {
    super("the history cannot be kept", { cause });
    this.full = cause instanceof DOMException && cause.name === "QuotaExceededError";
  }
}

/**
 * Return the turns kept, oldest first.
 * @returns {Promise<Turn[]>}
 */
export function keptTurns() {
  return inStore("readonly", (store) => store.index(ASKED).getAll());
}

/**
 * Keep a turn, in place of what was kept of it before, and let go of the oldest beyond the limit.
 * @param {Turn} turn
 */
export async function keepTurn(turn) {
  await inStore("readwrite", (store) => {
    store.put(keepable(turn));
    const oldestFirst = store.index(ASKED).getAllKeys();
    oldestFirst.onsuccess = () => {
      for (const old of oldestFirst.result.slice(0, -MOST_TURNS)) store.delete(old);
    };
    return oldestFirst;
  });
}

/** Forget every turn, with its pictures. */
export async function forgetTurns() {
  await inStore("readwrite", (store) => store.clear());
}

/**
 * @param {Turn} turn
 * @returns {Turn}
 */
function keepable(turn) {
  const parts = turn.question.parts.map((part) => (part.kind === "picture" ? { ...part, picture: null } : part));
  const hits = turn.hits.slice(0, MOST_HITS);
  return { ...turn, question: { ...turn.question, parts }, hits, more: turn.more || hits.length < turn.hits.length };
}

/**
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest} work
 * @returns {Promise<any>}
 */
async function inStore(mode, work) {
  try {
    const database = await opened();
    try {
      return await new Promise((resolve, reject) => {
        const transaction = database.transaction(STORE, mode);
        const request = work(transaction.objectStore(STORE));
        transaction.oncomplete = () => resolve(request.result);
        transaction.onabort = transaction.onerror = () => reject(transaction.error ?? request.error);
      });
    } finally {
      database.close();
    }
  } catch (error) {
    throw new HistoryError(error);
  }
}

/** @returns {Promise<IDBDatabase>} */
function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(STORE, { keyPath: "id" }).createIndex(ASKED, ASKED);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("another page holds the history"));
  });
}
