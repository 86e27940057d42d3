/** Where pictures to upload are chosen or dropped. While it is in sight a drop anywhere in the window counts. */

import { h, icon } from "./dom.js";
import { formatBytes } from "./formats.js";
import { t } from "./strings.js";

/** @type {HTMLElement | null} the one that was made last: the page has one */
let zone = null;
/** @type {(files: Iterable<File>) => void} */
let take = () => {};

for (const kind of /** @type {const} */ (["dragenter", "dragover"])) {
  addEventListener(kind, (event) => {
    if (!isForUs(event)) return;
    event.preventDefault(); // else the browser would leave the page for the picture
    mark(true);
  });
}
addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) mark(false); // out of the window
});
addEventListener("drop", (event) => {
  mark(false);
  if (!isForUs(event)) return;
  event.preventDefault();
  take(event.dataTransfer?.files ?? []);
});

/**
 * Return the zone.
 * @param {number} limit largest file that the service takes, in bytes
 * @param {(files: Iterable<File>) => void} onFiles
 */
export function dropZone(limit, onFiles) {
  take = onFiles;
  const picker = h("input", { type: "file", id: "upload-files", hidden: true, multiple: true, accept: "image/*" });
  picker.addEventListener("change", () => {
    onFiles([...(picker.files ?? [])]);
    picker.value = ""; // so that the same file can be chosen again
  });
  zone = h(
    "div",
    { class: "drop-zone" },
    icon("upload"),
    h("p", { class: "drop-words" }, t("upload-drop")),
    picker,
    h("button", { type: "button", class: "button primary", onclick: () => picker.click() }, t("upload-choose")),
    h("p", { class: "drop-limits" }, t("upload-limits", { limit: formatBytes(limit) })),
  );
  return zone;
}

/** @param {DragEvent} event */
function isForUs(event) {
  return zone !== null && zone.checkVisibility() && event.dataTransfer?.types.includes("Files");
}

/** @param {boolean} over */
function mark(over) {
  zone?.classList.toggle("over", over);
}
