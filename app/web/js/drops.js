/** Pictures pasted anywhere, or dropped anywhere: files, or tiles dragged out of an answer. */

import { h } from "./dom.js";
import { notify } from "./notices.js";
import { t } from "./strings.js";

const OWN_PICTURE = /\/api\/images\/([0-9a-f-]{36})\//i;

/**
 * Listen to the whole window.
 * @param {{isActive: () => boolean, onFiles: (files: File[]) => void, onImageId: (id: string) => void}} options
 */
export function listenForPictures({ isActive, onFiles, onImageId }) {
  const curtain = h("div", { class: "drop-curtain", hidden: true }, h("p"));
  document.body.append(curtain);
  let depth = 0; // dragenter and dragleave come for every element on the way
  const show = (/** @type {boolean} */ on) => {
    if (on) /** @type {Element} */ (curtain.firstChild).textContent = t("drop-here");
    curtain.hidden = !on;
    if (!on) depth = 0;
  };

  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length || !isActive()) return;
    event.preventDefault();
    onFiles(files);
  });
  addEventListener("dragenter", (event) => {
    if (isActive() && isWelcome(event)) show(++depth > 0);
  });
  addEventListener("dragleave", () => {
    if (depth > 0 && --depth === 0) show(false);
  });
  addEventListener("dragover", (event) => isActive() && isWelcome(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!isActive() || !isWelcome(event)) return;
    event.preventDefault();
    show(false);
    const files = [...(event.dataTransfer?.files ?? [])];
    const id = OWN_PICTURE.exec(event.dataTransfer?.getData("text/uri-list") ?? "")?.[1];
    if (id) onImageId(id);
    else if (files.length) onFiles(files);
    else notify(t("drop-files"));
  });
}

/** @param {DragEvent} event */
function isWelcome(event) {
  const types = event.dataTransfer?.types ?? [];
  return types.includes("Files") || types.includes("text/uri-list");
}
