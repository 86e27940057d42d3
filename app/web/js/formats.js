/** Sizes, dates, scores and durations as the chosen language writes them. */

import { formatNumber, locale } from "./strings.js";

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte"];

/**
 * Return a size in the largest unit that leaves at least one: 1,234,567 -> "1.2 MB".
 * @param {number} bytes
 */
export function formatBytes(bytes) {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const value = bytes / 1000 ** power;
  const digits = power > 0 && value < 10 ? 1 : 0;
  return formatNumber(value, { style: "unit", unit: UNITS[power], maximumFractionDigits: digits });
}

/**
 * Return a day. Cameras write their local time without a zone and the gallery keeps it as UTC, so UTC it is.
 * @param {string} iso
 * @param {"medium" | "long"} [dateStyle]
 */
export function formatDay(iso, dateStyle = "medium") {
  return new Intl.DateTimeFormat(locale(), { dateStyle, timeZone: "UTC" }).format(new Date(iso));
}

/**
 * Return a cosine similarity, from -1 to 1, with three decimals.
 * @param {number} score
 */
export function formatScore(score) {
  return formatNumber(score, { minimumFractionDigits: 3, maximumFractionDigits: 3 });
}

/** @param {number} fraction 0..1 */
export function formatPercent(fraction) {
  return formatNumber(fraction, { style: "percent", maximumFractionDigits: 0 });
}

/** @param {number} ms */
export function formatMilliseconds(ms) {
  return `${formatNumber(ms, { maximumFractionDigits: ms < 10 ? 1 : 0 })} ms`; // Intl would spell the unit out in Vietnamese
}
