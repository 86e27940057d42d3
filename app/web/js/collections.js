/** What is in the gallery: its collections, how many pictures each has, how far indexing is. */

import { getJson } from "./api.js";
import { fill, h, icon } from "./dom.js";
import { formatPercent } from "./formats.js";
import { roomTrouble } from "./room_trouble.js";
import { t } from "./strings.js";
import "./strings_rooms.js";

/** @typedef {{name: string, kind: "folder" | "uploads", images: number, encoded: number}} Collection */

const REFRESH_MS = 2000;

let timer = 0;

/**
 * Show the collections, refreshed while one is being indexed.
 * @param {HTMLElement} container
 * @param {{onPick: (name: string) => void}} options onPick: search within this collection
 */
export async function mountCollections(container, { onPick }) {
  clearTimeout(timer);
  const total = h("p", { class: "room-lead" });
  const list = h("ul", { class: "collections" });
  const trouble = h("div");
  fill(container, h("h1", null, t("collections-title")), total, trouble, list);
  /** @type {Map<string, ReturnType<typeof card>>} */
  const cards = new Map();
  await refresh();

  async function refresh() {
    clearTimeout(timer);
    if (!container.contains(list)) return; // shown anew since
    try {
      /** @type {Collection[]} */
      const collections = await getJson("/api/collections");
      fill(trouble);
      show(collections);
      if (collections.some(isUnfinished)) later();
    } catch (error) {
      total.textContent = "";
      fill(trouble, roomTrouble(error, refresh));
    }
  }

  function later() {
    clearTimeout(timer);
    timer = window.setTimeout(() => (document.hidden || container.hidden ? later() : refresh()), REFRESH_MS);
  }

  /** @param {Collection[]} collections */
  function show(collections) {
    const images = collections.reduce((sum, each) => sum + each.images, 0);
    total.textContent = collections.length > 0 ? t("collections-total", { n: images }) : "";
    if (collections.length === 0) return fill(list, h("li", { class: "room-note" }, emptyWords()));
    for (const [name, { element }] of cards) {
      if (collections.some((each) => each.name === name)) continue;
      element.remove();
      cards.delete(name);
    }
    for (const collection of collections) {
      const there = cards.get(collection.name);
      if (there) there.update(collection);
      else cards.set(collection.name, card(collection, onPick));
    }
    const wanted = collections.map((each) => cards.get(each.name)?.element);
    if (wanted.some((element, at) => list.children[at] !== element)) fill(list, wanted);
  }
}

/** @param {Collection} collection */
function isUnfinished({ images, encoded }) {
  return encoded < images;
}

/**
 * Return a collection's card, and what brings it up to date without making it anew.
 * @param {Collection} collection
 * @param {(name: string) => void} onPick
 */
function card(collection, onPick) {
  const { name, kind } = collection;
  const count = h("p", { class: "collection-count" });
  const bar = h("progress", { "aria-label": t("collections-progress", { name }) });
  const status = h("p", { class: "collection-status" });
  const search = h(
    "button",
    {
      type: "button",
      class: "button",
      "aria-label": t("collections-search-in", { name }),
      onclick: () => onPick(name),
    },
    icon("search"),
    t("collections-search"),
  );
  const element = h(
    "li",
    { class: "collection", dataset: { testid: "collection" } },
    h("span", { class: "collection-mark" }, icon(kind === "folder" ? "folder" : "upload")),
    h("div", { class: "collection-body" }, h("h2", null, name), count, bar, status),
    search,
  );
  update(collection);
  return { element, update };

  /** @param {Collection} now */
  function update(now) {
    const { images, encoded } = now;
    const unfinished = isUnfinished(now);
    element.dataset.complete = String(!unfinished);
    count.textContent = `${t("collections-pictures", { n: images })} · ${t(`collections-${kind}`)}`;
    bar.max = Math.max(1, images);
    bar.value = encoded;
    bar.hidden = !unfinished;
    status.textContent = unfinished
      ? t("collections-unfinished", { encoded, images, share: formatPercent(encoded / images) })
      : t(images > 0 ? "collections-complete" : "collections-empty");
  }
}

function emptyWords() {
  return [
    h("p", null, t("collections-none")),
    h("pre", { tabindex: 0 }, h("code", null, "image-retrieval index ~/Pictures")),
    h("a", { class: "button primary", href: "#/upload" }, t("collections-upload")),
  ];
}
