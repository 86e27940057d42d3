/**
 * Where the reader is, by what is at the top of the window: it stays true when the layout changes above. Each entry of
 * the browser's history keeps its place, for the way back and for a reload.
 */

const BELOW_HEADER_PX = 72;
const SCROLLED_MS = 200;

/** @typedef {{turn: string, hit: string | null, top: number}} Place */

let scrolled = 0;

/**
 * Keep the place whenever scrolling ends.
 * @param {() => boolean} isActive whether the conversation is what is scrolled
 */
export function keepPlaces(isActive) {
  history.scrollRestoration = "manual";
  const save = () => isActive() && savePlace();
  const later = () => {
    clearTimeout(scrolled);
    scrolled = window.setTimeout(save, SCROLLED_MS);
  };
  addEventListener("scroll", later, { passive: true });
}

/** Keep the place now, with this entry of the history. */
export function savePlace() {
  clearTimeout(scrolled);
  history.replaceState({ ...history.state, place: currentPlace() }, "");
}

/** @returns {Place | null} null where no turn is in sight */
export function currentPlace() {
  for (const y of [BELOW_HEADER_PX, innerHeight / 4, innerHeight / 2]) {
    for (const x of [innerWidth * 0.25, innerWidth * 0.5, innerWidth * 0.75]) {
      const found = placeAt(x, y);
      if (found) return found;
    }
  }
  return null;
}

/**
 * Scroll to a place. What it needs is laid out on the way, so the second look is the right one.
 * @param {Place} place
 */
export function goTo(place) {
  adjust(place);
  requestAnimationFrame(() => adjust(place));
}

/**
 * Scroll a turn's question to the top of the window.
 * @param {HTMLElement} turn
 */
export function reveal(turn) {
  turn.scrollIntoView({ block: "start" });
}

/**
 * @param {number} x
 * @param {number} y
 * @returns {Place | null}
 */
function placeAt(x, y) {
  const element = document.elementFromPoint(x, y);
  const turn = element?.closest(".turn");
  const hit = /** @type {HTMLElement | null | undefined} */ (element?.closest(".tile"));
  if (!turn) return null;
  return { turn: turn.id, hit: hit?.dataset.id ?? null, top: (hit ?? turn).getBoundingClientRect().top };
}

/** @param {Place} place */
function adjust({ turn, hit, top }) {
  const shown = document.getElementById(turn);
  const target = hit === null ? shown : shown?.querySelector(`[data-id="${CSS.escape(hit)}"]`);
  if (target) window.scrollBy({ top: target.getBoundingClientRect().top - top, behavior: "instant" });
  else if (shown) reveal(shown);
}
