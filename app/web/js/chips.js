/** The parts of a question as chips: each with its weight, from -1 (unlike this) to +1, and a way to remove it. */

import { h, iconButton } from "./dom.js";
import { urlOf } from "./picture_urls.js";
import { formatNumber, t } from "./strings.js";

/** @typedef {import("./question.js").Part} Part */
/** @typedef {import("./types.js").Region} Region */

const STEP = 0.05;
const PIXELS_FROM_NONE_TO_ALL = 160;
const DRAG_BEGINS_PX = 4;

/**
 * Return a chip to change a part with.
 * @param {Part} part
 * @param {{onWeight: (weight: number) => void, onRemove: () => void, onRegion?: () => void}} on
 */
export function chip(part, { onWeight, onRemove, onRegion }) {
  const name = partName(part);
  const region =
    onRegion &&
    iconButton("region", t(part.kind !== "text" && part.region ? "change-region" : "choose-region", { name }), {
      onclick: onRegion,
    });
  return h(
    "li",
    { class: "chip", dataset: { testid: "chip", kind: part.kind } },
    weightField(name, part.weight, onWeight),
    h(
      "span",
      { class: "chip-part", dataset: part.kind === "text" ? {} : { testid: "attachment" } },
      part.kind === "text" ? h("span", { class: "chip-words", title: part.text }, part.text) : thumbnail(part),
      region,
      iconButton("close", t("remove", { name }), { onclick: onRemove }),
    ),
  );
}

/**
 * Return what a part is called: its words, its file's name, its caption.
 * @param {Part} part
 */
export function partName(part) {
  if (part.kind === "text") return `“${part.text}”`;
  return (part.kind === "picture" ? part.name : part.title) || t("a-picture");
}

/**
 * Return a small picture of a part; only its region, where the browser can cut that out.
 * @param {Exclude<Part, {kind: "text"}>} part
 */
export function thumbnail(part) {
  const src =
    part.kind === "gallery" ? `/api/images/${part.image_id}/thumbnail` : part.thumbnail && urlOf(part.thumbnail);
  if (!src) return h("span", { class: "thumbnail unknown", role: "img", "aria-label": partName(part) });
  const image = h("img", { class: "thumbnail", src, alt: partName(part) });
  if (part.region) image.style.setProperty("object-view-box", inset(part.region));
  return image;
}

/**
 * Return a weight as people read it: +0.6, -0.25.
 * @param {number} weight
 */
export function weightText(weight) {
  return formatNumber(weight, { signDisplay: "exceptZero", maximumFractionDigits: 2 });
}

/** @param {Region} region */
function inset({ x, y, width, height }) {
  return `inset(${[y, 1 - x - width, 1 - y - height, x].map((share) => `${(100 * share).toFixed(2)}%`).join(" ")})`;
}

/**
 * Return a number that is dragged sideways, typed, or changed with the arrow keys.
 * @param {string} name of the part
 * @param {number} weight
 * @param {(weight: number) => void} onWeight
 */
function weightField(name, weight, onWeight) {
  const label = t("weight-of", { name });
  const field = h("input", {
    type: "number",
    class: "weight",
    min: -1,
    max: 1,
    step: STEP,
    "aria-label": label,
    title: t("weight-hint"),
  });
  let current = weight;
  const show = (/** @type {number} */ next) => {
    current = next;
    field.style.setProperty("--weight", String(next));
    field.classList.toggle("negative", next < 0);
  };
  const set = (/** @type {number} */ next) => {
    show(Math.round(100 * Math.min(1, Math.max(-1, next))) / 100);
    onWeight(current);
  };
  const text = () => String(Math.round(100 * current) / 100);
  show(weight);
  field.value = text();
  field.addEventListener("input", () => {
    if (field.value !== "" && Number.isFinite(field.valueAsNumber)) set(field.valueAsNumber);
  });
  field.addEventListener("change", () => (field.value = text())); // nothing, or out of range, was typed
  dragSideways(
    field,
    () => current,
    (next) => {
      set(Math.round(next / STEP) * STEP);
      field.value = text();
    },
  );
  return field;
}

/**
 * @param {HTMLInputElement} field
 * @param {() => number} value
 * @param {(next: number) => void} onDrag
 */
function dragSideways(field, value, onDrag) {
  /** @type {{x: number, from: number, moved: boolean} | null} */
  let drag = null;
  field.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || document.activeElement === field) return;
    drag = { x: event.clientX, from: value(), moved: false };
    field.setPointerCapture(event.pointerId); // now: a quick hand is out of the field with its first move
  });
  field.addEventListener("mousedown", (event) => drag && event.preventDefault()); // a drag selects no digits
  field.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const distance = event.clientX - drag.x;
    if (!drag.moved && Math.abs(distance) < DRAG_BEGINS_PX) return;
    drag.moved = true;
    onDrag(drag.from + distance / PIXELS_FROM_NONE_TO_ALL);
  });
  field.addEventListener("pointerup", () => {
    if (drag && !drag.moved) (field.focus(), field.select());
    drag = null;
  });
  field.addEventListener("pointercancel", () => (drag = null));
}
