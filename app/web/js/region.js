/**
 * Choosing a part of a picture: drag a box with mouse or finger, or move and resize it with the arrow keys.
 * The box's place is told in words under the picture, and to screen readers.
 */

import { openModal } from "./modal.js";
import { h } from "./dom.js";
import { formatPercent } from "./formats.js";
import { between, oppositesOf, moved, resized, sliver } from "./region_box.js";
import { t } from "./strings.js";
import "./strings_views.js";

/** @typedef {import("./types.js").Region} Region */
/** @typedef {import("./region_box.js").Point} Point */

const STEP = 0.02;
/** @type {Region} */
const SUGGESTED = { x: 0.25, y: 0.25, width: 0.5, height: 0.5 };
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

/**
 * Let a person choose a part of a picture.
 * @param {string} imageUrl
 * @param {string} title
 * @returns {Promise<Region | null>} fractions of the upright picture; null if none was taken
 */
export function selectRegion(imageUrl, title) {
  return new Promise((resolve) => {
    /** @type {Region | null} */
    let taken = null;
    let box = SUGGESTED;
    const words = h("p", { class: "region-words", "aria-live": "polite" });
    const corners = ["nw", "ne", "sw", "se"].map((corner) => h("span", { dataset: { corner } }));
    const help = h("p", { class: "region-help", id: "region-help" }, t("region-help"));
    const outline = h(
      "div",
      {
        class: "region-box",
        tabindex: 0,
        role: "application",
        "aria-label": t("region-box"),
        "aria-describedby": "region-help",
        onkeydown: onKey,
      },
      corners,
    );
    const picture = h("img", { src: imageUrl, alt: title, draggable: "false", onload: fit, onerror: refuse });
    const frame = h("div", { class: "region-frame fitted", hidden: true }, picture, outline);
    const take = h("button", { type: "button", class: "button primary", onclick: accept }, t("region-take"));
    const cancel = h("button", { type: "button", class: "button", onclick: () => dialog.close() }, t("cancel"));
    const foot = h("div", { class: "region-foot" }, words, cancel, take);
    const stage = h("div", { class: "region-stage" }, h("div", { class: "region-place" }, frame));
    const head = h("div", { class: "region-head" }, h("h2", null, title), help);
    const dialog = openModal("region", title, [head, stage, foot], () => resolve(taken));
    drawWithPointer(frame, outline, () => box, place);
    place(box);

    function fit() {
      frame.style.setProperty("--width", String(picture.naturalWidth));
      frame.style.setProperty("--height", String(picture.naturalHeight));
      frame.hidden = false;
      outline.focus();
    }

    /** @param {Region} next */
    function place(next) {
      box = next;
      for (const [side, value] of Object.entries(box)) outline.style.setProperty(`--box-${side}`, String(value));
      const said = Object.fromEntries(Object.entries(box).map(([side, value]) => [side, formatPercent(value)]));
      words.textContent = t("region-words", said);
    }

    /** @param {KeyboardEvent} event */
    function onKey(event) {
      const arrow = ARROWS[event.key];
      if (event.key !== "Enter" && !arrow) return;
      event.preventDefault();
      event.stopPropagation(); // the lightbox below turns pages with the same keys
      if (!arrow) return accept();
      frame.dataset.touched = "";
      place((event.shiftKey ? resized : moved)(box, ...arrow));
    }

    function accept() {
      taken = box;
      dialog.close();
    }

    function refuse() {
      words.textContent = t("region-no-picture");
      take.disabled = true;
      cancel.focus();
    }
  });
}

/**
 * Drag to draw a box; once there is one, drag inside to move it and a corner to resize it.
 * @param {HTMLElement} frame as large as the picture is shown
 * @param {HTMLElement} outline
 * @param {() => Region} current
 * @param {(box: Region) => void} place
 */
function drawWithPointer(frame, outline, current, place) {
  /** @type {((to: Point) => Region) | null} */
  let dragged = null;
  frame.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    event.preventDefault(); // no picture is dragged, no text selected
    outline.focus({ preventScroll: true });
    frame.setPointerCapture(event.pointerId);
    dragged = dragFrom(event);
  });
  frame.addEventListener("pointermove", (event) => {
    const next = dragged?.(pointOf(event));
    if (!next || sliver(next)) return; // a click is no box
    frame.dataset.touched = "";
    place(next);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    frame.addEventListener(end, () => {
      dragged = null;
    });
  }

  /**
   * @param {PointerEvent} event
   * @returns {(to: Point) => Region}
   */
  function dragFrom(event) {
    const [start, box] = [pointOf(event), current()];
    const touched = "touched" in frame.dataset;
    const corner = event.target instanceof HTMLElement ? event.target.dataset.corner : undefined;
    if (touched && corner) {
      const opposite = oppositesOf(box)[corner];
      if (opposite) return (to) => between(opposite, to);
    }
    if (touched && event.target === outline) return (to) => moved(box, to.x - start.x, to.y - start.y);
    return (to) => between(start, to);
  }

  /**
   * @param {PointerEvent} event
   * @returns {Point}
   */
  function pointOf(event) {
    const place = frame.getBoundingClientRect();
    return { x: (event.clientX - place.left) / place.width, y: (event.clientY - place.top) / place.height };
  }
}
