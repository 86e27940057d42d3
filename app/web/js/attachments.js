/** Files that become parts of a question: attached, pasted or dropped. */

import { announce } from "./announce.js";
import { notify } from "./notices.js";
import { PictureError, checkFile, readPicture } from "./pictures.js";
import { MOST_PARTS, MOST_PICTURES } from "./question.js";
import { t } from "./strings.js";

/** @typedef {import("./draft.js").Draft} Draft */

/**
 * Attach files to a draft, each shown at once and made small afterwards; those that cannot be part of a question
 * are named in a message.
 * @param {Draft} draft
 * @param {Iterable<File>} files
 * @param {() => void} onChange
 * @returns {Promise<void>} when all are small enough to send
 */
export async function attach(draft, files, onChange) {
  const left = [];
  const work = [];
  for (const file of files) {
    if (!isPicture(file)) continue;
    if (draft.pictures >= MOST_PICTURES) left.push(file.name);
    else work.push(attachOne(draft, file, onChange));
  }
  if (left.length) notify(t("too-many-pictures", { n: MOST_PICTURES, names: left.join(", ") }));
  await Promise.all(work);
}

/**
 * @param {Draft} draft
 * @param {File} file
 * @param {() => void} onChange
 */
async function attachOne(draft, file, onChange) {
  const key = draft.add({
    kind: "picture",
    name: file.name,
    picture: null,
    thumbnail: file,
    embedding: null,
    region: null,
    weight: 1,
  });
  if (key === null) return notify(t("too-many-parts", { n: MOST_PARTS }));
  onChange();
  announce(t("attached", { name: file.name }));
  try {
    draft.change(key, await readPicture(file)); // it looks the same; its chip, perhaps in use by now, is left alone
  } catch (error) {
    if (!(error instanceof PictureError)) throw error;
    draft.remove(key);
    notify(error.message);
    onChange();
  }
}

/** @param {File} file */
function isPicture(file) {
  try {
    checkFile(file);
    return true;
  } catch (error) {
    if (!(error instanceof PictureError)) throw error;
    notify(error.message);
    return false;
  }
}
