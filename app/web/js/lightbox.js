/**
 * One picture as large as the window allows, what is known about it, and the way to its neighbours: arrow keys,
 * buttons, a swipe.
 */

import { openModal } from "./modal.js";
import { fill, h, iconButton } from "./dom.js";
import { fileName } from "./downloads.js";
import { hitDetails } from "./hit_details.js";
import { t } from "./strings.js";
import "./strings_views.js";

/** @typedef {import("./types.js").Hit} Hit */
/** @typedef {import("./types.js").Actions} Actions */
/** @typedef {import("./types.js").TermEcho} Term */

const SWIPE_PX = 56;
const AHEAD = 3; // more is asked for when so few are left

/**
 * Show a hit large.
 * @param {Hit[]} hits may grow while the lightbox is open: the next picture is looked up when it is wanted
 * @param {number} index of the hit to begin with
 * @param {Actions} actions
 * @param {{terms?: Term[], onEnd?: () => Promise<void>}} [options] terms: the question's parts, to name each hit's part
 *   scores; onEnd: the end of the hits is near, resolves when there may be more
 * @returns {HTMLDialogElement}
 */
export function openLightbox(hits, index, actions, { terms = [], onEnd = async () => {} } = {}) {
  const picture = h("img", { class: "lightbox-picture fitted", draggable: "false" });
  const previous = iconButton("previous", t("lightbox-previous"), { class: "lightbox-turn", onclick: () => turn(-1) });
  const next = iconButton("next", t("lightbox-next"), { class: "lightbox-turn", onclick: () => turn(1) });
  const position = h("p", { class: "lightbox-position" });
  const said = h("p", { class: "visually-hidden", "aria-live": "polite" });
  const note = h("p", { class: "lightbox-note", hidden: true });
  const details = h("div", { class: "lightbox-details" });
  const close = iconButton("close", t("close"), { class: "lightbox-close", onclick: () => dialog.close() });
  const frame = h("div", { class: "lightbox-frame" }, picture);
  const stage = h("div", { class: "lightbox-stage" }, frame, close, previous, next, position, note);
  const dialog = openModal("lightbox", t("lightbox"), [stage, details, said]);
  dialog.addEventListener("keydown", onKey);
  turnOnSwipe(stage, frame, turn, () => dialog.close());
  show();
  close.focus();
  return dialog;

  function show() {
    const hit = hits[index];
    if (!hit) return;
    showPlace();
    said.textContent = `${position.textContent}: ${hit.captions[0] ?? fileName(hit)}`;
    showPicture(picture, note, hit);
    fill(
      details,
      hitDetails(hit, actions, terms, () => dialog.close()),
    );
    details.scrollTop = 0;
    for (const neighbour of [hits[index + 1], hits[index - 1]]) {
      if (neighbour) new Image().src = neighbour.image_url; // so that turning does not wait
    }
    if (index >= hits.length - AHEAD) onEnd().then(showPlace);
  }

  function showPlace() {
    position.textContent = t("lightbox-position", { n: index + 1, all: hits.length });
    previous.setAttribute("aria-disabled", String(index === 0));
    next.setAttribute("aria-disabled", String(index === hits.length - 1));
  }

  /** @param {number} by */
  function turn(by) {
    const target = Math.max(0, Math.min(hits.length - 1, index + by));
    if (target === index) return;
    index = target;
    show();
    slideIn(picture, Math.sign(by));
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    turn(by);
  }
}

/**
 * @param {HTMLElement} element
 * @param {number} from 1: the right, -1: the left
 */
function slideIn(element, from) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  element.animate({ translate: [`${2 * from}rem`, "0"], opacity: [0.4, 1] }, { duration: 160, easing: "ease-out" });
}

/**
 * Show the thumbnail, which is there already, at the size of the picture, and the picture once it is decoded.
 * @param {HTMLImageElement} element
 * @param {HTMLElement} note says so if the browser cannot show the file
 * @param {Hit} hit
 */
function showPicture(element, note, hit) {
  element.alt = hit.captions[0] ?? fileName(hit);
  element.src = hit.thumbnail_url;
  element.style.setProperty("--width", String(hit.width));
  element.style.setProperty("--height", String(hit.height));
  element.dataset.id = hit.id;
  note.hidden = true;
  const whole = new Image();
  whole.src = hit.image_url;
  whole.decode().then(
    () => {
      if (element.dataset.id === hit.id) element.src = hit.image_url;
    },
    () => {
      if (element.dataset.id !== hit.id) return;
      note.hidden = false;
      note.textContent = t("lightbox-only-small", { format: hit.format.toUpperCase() });
    },
  );
}

/**
 * Turn by a swipe to the side, close by one downwards. Two fingers zoom, as ever.
 * @param {HTMLElement} stage
 * @param {HTMLElement} frame moves along with the finger
 * @param {(by: number) => void} turn
 * @param {() => void} close
 */
function turnOnSwipe(stage, frame, turn, close) {
  /** @type {{id: number, x: number, y: number} | null} */
  let start = null;
  const end = () => {
    start = null;
    frame.style.removeProperty("translate");
  };
  const zoomed = () => (visualViewport?.scale ?? 1) > 1.01;
  stage.addEventListener("pointerdown", (event) => {
    stage.classList.toggle("zoomed", zoomed()); // fingers then move the enlarged picture, from the next touch on
    if (event.pointerType === "mouse" || zoomed()) return;
    if (event.isPrimary) start = { id: event.pointerId, x: event.clientX, y: event.clientY };
    else end();
  });
  stage.addEventListener("pointermove", (event) => {
    if (event.pointerId === start?.id) frame.style.setProperty("translate", `${event.clientX - start.x}px`);
  });
  stage.addEventListener("pointerup", (event) => {
    if (event.pointerId !== start?.id) return;
    const [right, down] = [event.clientX - start.x, event.clientY - start.y];
    end();
    if (Math.abs(right) > Math.max(SWIPE_PX, Math.abs(down))) turn(right < 0 ? 1 : -1);
    else if (down > 2 * SWIPE_PX) close();
  });
  stage.addEventListener("pointercancel", end);
}
