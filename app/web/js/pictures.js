/** Pictures that the user brings: checked, turned upright, made small before they are kept or sent. */

import { formatNumber, t } from "./strings.js";

const SENT_PX = 1024;
const KEPT_PX = 320;
const MOST_BYTES = 64 * 1024 * 1024;
const MOST_PIXELS = 120_000_000;

/** A file that cannot be part of a question; the message is for the user. */
export class PictureError extends Error {}

/**
 * Raise PictureError, saying what is wrong, for a file that need not even be read.
 * @param {File} file
 */
export function checkFile(file) {
  if (!file.type.startsWith("image/")) throw new PictureError(t("not-a-picture", { name: file.name }));
  if (file.size > MOST_BYTES) {
    const limit = formatNumber(MOST_BYTES / 1024 / 1024);
    const size = formatNumber(file.size / 1024 / 1024, { maximumFractionDigits: 0 });
    throw new PictureError(t("picture-too-large", { name: file.name, size, limit }));
  }
}

/**
 * Return a picture small enough to send, and its thumbnail, smaller still, to keep in the history.
 * @param {File} file
 * @returns {Promise<{picture: Blob, thumbnail: Blob}>}
 * @throws {PictureError} the browser cannot read it
 */
export async function readPicture(file) {
  const bitmap = await decoded(file);
  try {
    if (bitmap.width * bitmap.height > MOST_PIXELS) {
      const size = formatNumber((bitmap.width * bitmap.height) / 1e6, { maximumFractionDigits: 0 });
      throw new PictureError(t("picture-too-many-pixels", { name: file.name, size }));
    }
    const [picture, thumbnail] = await Promise.all([reduced(bitmap, SENT_PX, 0.92), reduced(bitmap, KEPT_PX, 0.8)]);
    return { picture, thumbnail };
  } finally {
    bitmap.close();
  }
}

/** @param {File} file */
async function decoded(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new PictureError(t("unreadable-picture", { name: file.name }));
  }
}

/**
 * Return a JPEG whose longer side has at most so many pixels; what was transparent is white.
 * @param {ImageBitmap} bitmap
 * @param {number} most
 * @param {number} quality
 * @returns {Promise<Blob>}
 */
async function reduced(bitmap, most, quality) {
  const scale = Math.min(1, most / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(
    Math.max(1, Math.round(bitmap.width * scale)),
    Math.max(1, Math.round(bitmap.height * scale)),
  );
  const context = canvas.getContext("2d");
  if (!context) throw new PictureError(t("no-canvas"));
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality });
}
