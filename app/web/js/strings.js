/**
 * The page's words in English and Vietnamese. A module brings its own with addStrings; t() finds them in the
 * language chosen. A text may name values in braces, and have a form for one and for others: {n: 3} chooses.
 */

import { recall, remember } from "./remembered.js";

/** @typedef {"en" | "vi"} Language */
/** @typedef {string | {one: string, other: string}} Words */
/** @typedef {Record<string, Words>} Strings */

export const LANGUAGES = /** @type {const} */ ({ en: "English", vi: "Tiếng Việt" });
const REMEMBERED = "language";

const LOADERS = { en: () => import("./words_en.js"), vi: () => import("./words_vi.js") };

/** @type {Record<Language, Strings>} */
const strings = { en: {}, vi: {} };

let chosen = startingLanguage();
let wanted = chosen;
await load(chosen);
document.documentElement.lang = chosen;

/** @type {Set<() => void>} */
const listeners = new Set();

/**
 * Return the words for a key in the chosen language, values put in: t("found", {n: 3}).
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  const words = strings[chosen][key];
  if (words === undefined) throw new Error(`no words for "${key}"`);
  const form = typeof words === "string" ? words : words[pluralForm(Number(values.n))];
  return form.replace(/\{(\w+)\}/g, (whole, name) => shown(values[name] ?? whole));
}

/**
 * Add a module's words; both languages must have the same keys.
 * @param {Record<Language, Strings>} more
 */
export function addStrings(more) {
  Object.assign(strings.en, more.en);
  Object.assign(strings.vi, more.vi);
}

/** @returns {Language} */
export function language() {
  return chosen;
}

/**
 * Choose a language, remember it, and tell everyone who listens.
 * @param {Language} next
 */
export async function setLanguage(next) {
  wanted = next;
  await load(next);
  if (wanted !== next) return; // another was chosen while its words were on their way
  chosen = next;
  document.documentElement.lang = next;
  remember(REMEMBERED, next);
  for (const listener of listeners) listener();
}

/**
 * Call back whenever the language changes.
 * @param {() => void} listener
 */
export function onLanguage(listener) {
  listeners.add(listener);
}

/**
 * Return the chosen language as it is written where the visitor lives: 8 January 2024 in Britain, January 8, 2024 in America.
 */
export function locale() {
  return navigator.languages.find((each) => each.toLowerCase().startsWith(chosen)) ?? chosen;
}

/**
 * Return a number as the chosen language writes it.
 * @param {number} value
 * @param {Intl.NumberFormatOptions} [options]
 */
export function formatNumber(value, options) {
  return new Intl.NumberFormat(locale(), options).format(value);
}

/** @param {Language} code */
async function load(code) {
  const { WORDS } = await LOADERS[code]();
  strings[code] = { ...strings[code], ...WORDS };
}

/** @returns {Language} */
function startingLanguage() {
  const remembered = recall(REMEMBERED);
  if (remembered === "en" || remembered === "vi") return remembered;
  return navigator.language.toLowerCase().startsWith("vi") ? "vi" : "en";
}

/**
 * @param {number} n
 * @returns {"one" | "other"}
 */
function pluralForm(n) {
  return new Intl.PluralRules(chosen).select(n) === "one" ? "one" : "other";
}

/** @param {string | number} value */
function shown(value) {
  return typeof value === "number" ? formatNumber(value) : value;
}
