/**
 * The pictures of one answer: a grid (or a slider) that grows at its end. One listener serves all tiles, and of all
 * their buttons only those of the current tile are tab stops; arrow keys go from tile to tile.
 */

import { h, iconButton } from "./dom.js";
import { gridKeys } from "./grid_keys.js";
import { sheet } from "./sheets.js";
import { t } from "./strings.js";
import { skeletonTiles, tile } from "./tile.js";

/** @typedef {import("./types.js").Hit} Hit */
/** @typedef {import("./types.js").Actions} Actions */
/** @typedef {import("./types.js").TermEcho} TermEcho */

const SKELETONS = 10;
const AHEAD = "1200px"; // the next pictures are asked for this long before the end is seen

/**
 * @typedef {object} ResultsOptions
 * @property {Actions} actions
 * @property {() => Promise<void>} onEnd the end is near, and more is wanted; resolves when it is there
 * @property {(hit: Hit, range: boolean) => void} onSelect the hit is to be selected, or no longer; range: and all
 *   between it and the one before
 * @property {() => TermEcho[]} terms the parts of the question
 */

export class Results {
  /** @param {ResultsOptions} options */
  constructor(options) {
    this.options = options;
    /** @type {Map<string, Hit>} */
    this.hits = new Map();
    /** @type {Hit[]} the same in order; an open lightbox sees it grow */
    this.inOrder = [];
    this.end = h("li", { class: "grid-end", "aria-hidden": true });
    this.list = h("ul", { class: "grid", role: "list", "aria-label": t("pictures-found") }, this.end);
    this.element = h(
      "div",
      { class: "results" },
      this.list,
      this.#sliderButton("previous", -1),
      this.#sliderButton("next", 1),
    );
    this.list.addEventListener("click", (event) => this.#click(event));
    for (const kind of ["load", "error"]) this.list.addEventListener(kind, showLoaded, true);
    gridKeys(this.list);
    this.observer = new IntersectionObserver((seen) => seen.some((entry) => entry.isIntersecting) && options.onEnd(), {
      rootMargin: AHEAD,
    });
  }

  /** Show that pictures are being looked for. */
  wait() {
    this.end.before(...skeletonTiles(SKELETONS));
  }

  /** Take the grey tiles away. */
  settle() {
    for (const grey of this.list.querySelectorAll(".skeleton")) grey.remove();
  }

  /**
   * Add pictures at the end; one that is there already is not shown again.
   * @param {Hit[]} hits
   */
  add(hits) {
    this.settle();
    const fresh = hits.filter((hit) => !this.hits.has(hit.id));
    for (const hit of fresh) this.hits.set(hit.id, hit);
    this.inOrder.push(...fresh);
    this.end.before(...fresh.map(tile));
  }

  /**
   * Ask for more whenever the end comes near; asks at once if it is near already.
   * @param {boolean} wanted
   */
  growAtEnd(wanted) {
    this.observer.disconnect();
    if (wanted) this.observer.observe(this.end);
  }

  /**
   * Show which pictures are selected.
   * @param {ReadonlySet<string>} ids
   */
  showSelected(ids) {
    for (const box of this.list.querySelectorAll("input")) box.checked = ids.has(idOf(box));
    this.element.classList.toggle("selecting", ids.size > 0);
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const target = /** @type {Element} */ (event.target);
    const hit = this.hits.get(idOf(target));
    if (!hit) return;
    const button = target.closest("button");
    if (button) this.#act(button, hit);
    else if (target.localName === "input") this.options.onSelect(hit, event.shiftKey);
    else if (target.closest("a") && !(event.ctrlKey || event.metaKey || event.shiftKey)) {
      event.preventDefault();
      this.#open(hit);
    }
  }

  /**
   * @param {HTMLButtonElement} button
   * @param {Hit} hit
   */
  async #act(button, hit) {
    const { actions } = this.options;
    const action = button.dataset.action;
    if (action === "more-like") actions.moreLike(hit);
    else if (action === "less-like") actions.lessLike(hit);
    else if (action === "add") actions.addToQuestion(hit);
    else if (action === "download") (await import("./downloads.js")).downloadOne(hit);
    else this.#openMenu(button);
  }

  /**
   * Show what can be done with a picture where nothing hovers: one picture's at a time.
   * @param {HTMLButtonElement} button
   */
  #openMenu(button) {
    const open = button.getAttribute("aria-expanded") !== "true";
    for (const other of this.list.querySelectorAll(".tile-menu[aria-expanded=true]"))
      other.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-expanded", String(open));
  }

  /** @param {Hit} hit */
  async #open(hit) {
    const [{ openLightbox }] = await Promise.all([import("./lightbox.js"), sheet("views")]);
    const { actions, terms, onEnd } = this.options;
    openLightbox(this.inOrder, this.inOrder.indexOf(hit), actions, { terms: terms(), onEnd });
  }

  /**
   * @param {string} name
   * @param {1 | -1} direction
   */
  #sliderButton(name, direction) {
    const slide = () => this.list.scrollBy({ left: direction * this.list.clientWidth * 0.9 });
    return iconButton(name, t(name), { class: `slide ${name}`, onclick: slide });
  }
}

/** @param {Element} element in a tile */
function idOf(element) {
  return element.closest("li")?.dataset.id ?? "";
}

/** @param {Event} event */
function showLoaded(event) {
  const image = /** @type {Element} */ (event.target);
  image.classList.add(event.type === "load" ? "loaded" : "broken");
}
