/** Uploading: choose or drop pictures, say what they show, send them, see how far each is. */

import { announce } from "./announce.js";
import { getJson } from "./api.js";
import { fill, h } from "./dom.js";
import { dropZone } from "./drop_zone.js";
import { roomTrouble } from "./room_trouble.js";
import { t } from "./strings.js";
import "./strings_rooms.js";
import { UploadQueue, isAboutKey, isUnderWay } from "./upload_queue.js";
import { uploadRow } from "./upload_row.js";
import { uploadSettings } from "./upload_settings.js";

/** @typedef {import("./upload_queue.js").Item} Item */

const queue = new UploadQueue();

addEventListener("beforeunload", (event) => {
  if (queue.busy) event.preventDefault(); // the browser asks whether to leave
});

/**
 * Show the upload view; what was chosen or is under way is shown again.
 * @param {HTMLElement} container
 */
export async function mountUpload(container) {
  const heading = h("h1", null, t("upload-title"));
  const body = h("div", { class: "upload" }, h("p", { class: "loading", role: "status" }, t("upload-loading")));
  fill(container, heading, body);
  try {
    const [status, collections] = await Promise.all([getJson("/api/status"), getJson("/api/collections")]);
    queue.limit = status.max_upload_bytes;
    queue.recheck();
    showForm(body, status, collections);
  } catch (error) {
    fill(
      body,
      roomTrouble(error, () => mountUpload(container)),
    );
  }
}

/**
 * @param {HTMLElement} body
 * @param {{writes: "open" | "key", max_upload_bytes: number}} status
 * @param {{name: string, kind: string}[]} collections
 */
function showForm(body, status, collections) {
  const list = h("ul", { class: "upload-list", "aria-label": t("upload-list") });
  const bar = h("div", { class: "upload-bar", role: "region", "aria-label": t("upload-bar") });
  const uploads = collections.filter((each) => each.kind === "uploads").map((each) => each.name);
  const settings = uploadSettings(queue, { collections: uploads, keyNeeded: status.writes === "key" });
  /** @type {Map<Item, {row: HTMLElement, update: () => void}>} */
  const rows = new Map();

  queue.onChange = (item) => {
    if (item === null) showList();
    else rows.get(item)?.update();
    if (isAboutKey(item?.error ?? null)) settings.askForKey();
    showBar();
  };
  fill(body, dropZone(status.max_upload_bytes, take), settings.element, list, bar);
  showList();
  showBar();

  function showList() {
    for (const item of rows.keys()) if (!queue.items.includes(item)) rows.delete(item);
    for (const item of queue.items) if (!rows.has(item)) rows.set(item, uploadRow(queue, item));
    const wanted = queue.items.map((item) => rows.get(item)?.row);
    for (const row of [...list.children]) if (!wanted.includes(/** @type {any} */ (row))) row.remove();
    for (const row of wanted) if (row && !row.isConnected) list.append(row);
  }

  function showBar() {
    const [ready, failed] = [queue.count("ready"), queue.count("failed")];
    const [done, all] = [queue.count("added", "known"), queue.items.length];
    const words = barWords(done, all);
    const before = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.act : undefined;
    bar.hidden = all === 0;
    if (bar.dataset.words === words && bar.dataset.ready === `${ready}/${failed}/${queue.busy}`) return;
    Object.assign(bar.dataset, { words, ready: `${ready}/${failed}/${queue.busy}` });
    fill(
      bar,
      h("p", { class: "upload-summary" }, words),
      done > 0 && !queue.busy && barButton("clear", t("upload-clear"), () => queue.removeFinished()),
      queue.busy && barButton("stop", t("upload-stop"), () => queue.cancelAll()),
      ready + failed > 0 && barButton("send", t("upload-send", { n: ready + failed }), send, "primary"),
      done > 0 &&
        !queue.busy &&
        ready + failed === 0 &&
        h("a", { class: "button primary", href: "#/collections" }, t("upload-see")),
    );
    if (before) bar.querySelector(/** @type {any} */ (`[data-act=${before}], .button`))?.focus();
    if (done === all && all > 0) announce(words);
  }

  function send() {
    if (!settings.areFilledIn()) return;
    queue.start();
    announce(t("upload-started"));
  }
}

/**
 * @param {number} done
 * @param {number} all
 */
function barWords(done, all) {
  if (queue.busy) return t("upload-summary-busy", { n: queue.items.filter(isUnderWay).length, done });
  return done > 0 ? t("upload-summary-done", { n: done, all }) : t("upload-summary", { n: all });
}

/**
 * @param {string} act
 * @param {string} words
 * @param {() => void} onclick
 * @param {string} [look]
 */
function barButton(act, words, onclick, look = "") {
  return h("button", { type: "button", class: `button ${look}`.trim(), dataset: { act }, onclick }, words);
}

/** @param {Iterable<File>} files */
function take(files) {
  const before = queue.items.length;
  const again = queue.add(files);
  const taken = queue.items.length - before;
  announce(
    [taken > 0 && t("upload-taken", { n: taken }), again > 0 && t("upload-again", { n: again })]
      .filter(Boolean)
      .join(" "),
  );
}
