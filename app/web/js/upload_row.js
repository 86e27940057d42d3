/** One picture on the upload list: what is said about it, how far it is, and what went wrong. */

import { fill, h, icon, iconButton } from "./dom.js";
import { formatBytes, formatPercent } from "./formats.js";
import { pairsField } from "./pairs_field.js";
import { t } from "./strings.js";
import { isFinished, isUnderWay } from "./upload_queue.js";

/** @typedef {import("./upload_queue.js").Item} Item */
/** @typedef {import("./upload_queue.js").UploadQueue} UploadQueue */

/**
 * Return a picture's row, and what brings it up to date.
 * @param {UploadQueue} queue
 * @param {Item} item
 * @returns {{row: HTMLElement, update: () => void}}
 */
export function uploadRow(queue, item) {
  const { name } = item.file;
  const preview = h("img", { class: "upload-preview", src: item.preview, alt: "", loading: "lazy", decoding: "async" });
  preview.addEventListener("error", () => preview.replaceWith(h("div", { class: "upload-preview" }, icon("picture")))); // TIFF, HEIC
  const progress = h("progress", { max: 1, "aria-label": t("upload-progress", { name }) });
  const status = h("p", { class: "upload-status" });
  const foot = h("div", { class: "upload-foot" }, progress, status);
  const actions = h("div", { class: "upload-actions" });
  const said = words(queue, item);
  const head = h(
    "div",
    { class: "upload-head" },
    h("p", { class: "upload-name", title: name }, name),
    h("p", { class: "upload-size" }, formatBytes(item.file.size)),
    actions,
  );
  const row = h(
    "li",
    { class: "upload-row", dataset: { testid: "upload" } },
    preview,
    h("div", { class: "upload-body" }, head, said, foot),
  );
  let shown = "";
  update();
  return { row, update };

  function update() {
    row.dataset.state = item.state;
    row.classList.toggle("slim", isFinished(item) || isUnderWay(item));
    said.hidden = isFinished(item) || isUnderWay(item) || (item.state === "refused" && !item.captions);
    progress.hidden = item.state !== "sending";
    if (item.share < 1) progress.value = item.share;
    else progress.removeAttribute("value"); // all has left; the service is looking at it, and does not say how far
    status.textContent = statusWords(item, queue.limit);
    foot.hidden = item.state === "ready";
    if (shown === item.state) return; // else a button would lose its focus with every step of the progress bar
    const hadFocus = actions.contains(document.activeElement);
    shown = item.state;
    fill(actions, buttons(queue, item));
    if (hadFocus) actions.querySelector("button")?.focus();
  }
}

/**
 * @param {UploadQueue} queue
 * @param {Item} item
 */
function words(queue, item) {
  const captions = h("textarea", {
    class: "field",
    rows: 2,
    "aria-label": t("upload-captions-of", { name: item.file.name }),
    placeholder: t("upload-captions"),
    value: item.captions,
    oninput: () => {
      item.captions = captions.value;
    },
    onchange: () => queue.recheck(),
  });
  const attributes = pairsField(t("upload-attributes-of", { name: item.file.name }), item.attributes, (pairs) => {
    item.attributes = pairs;
  });
  return h(
    "div",
    { class: "upload-words" },
    captions,
    h("details", { open: item.attributes.length > 0 }, h("summary", null, t("upload-attributes")), attributes),
  );
}

/**
 * @param {UploadQueue} queue
 * @param {Item} item
 */
function buttons(queue, item) {
  const { name } = item.file;
  const retry = h(
    "button",
    {
      type: "button",
      class: "button",
      "aria-label": t("upload-retry-one", { name }),
      onclick: () => queue.retry(item),
    },
    icon("again"),
    t("try-again"),
  );
  if (isUnderWay(item))
    return [iconButton("close", t("upload-cancel-one", { name }), { onclick: () => queue.cancel(item) })];
  return [
    item.state === "failed" && retry,
    iconButton("close", t("upload-remove-one", { name }), { onclick: () => queue.remove(item) }),
  ];
}

/**
 * @param {Item} item
 * @param {number} limit
 */
function statusWords({ state, share, error }, limit) {
  if (state === "sending")
    return share < 1 ? t("upload-sending", { share: formatPercent(share) }) : t("upload-reading");
  if (state === "failed" || state === "refused") return errorWords(error?.status ?? 0, error?.detail ?? "", limit);
  return state === "ready" ? "" : t(`upload-is-${state}`);
}

/**
 * Say what went wrong and what to do.
 * @param {number} status
 * @param {string} detail in the service's words
 * @param {number} limit
 */
function errorWords(status, detail, limit) {
  if (status === 413)
    return Number.isFinite(limit) ? t("upload-error-413", { limit: formatBytes(limit) }) : t("upload-error-large");
  if (status === 422 && detail) return t("upload-error-detail", { detail });
  const known = [0, 401, 403, 409, 415, 422, 429, 503];
  return known.includes(status) ? t(`upload-error-${status}`) : t("upload-error-other", { status });
}
