/** Boxes within a picture, in fractions of it: moved, resized, drawn, and never outside. */

/** @typedef {import("./types.js").Region} Region */
/** @typedef {{x: number, y: number}} Point */

const LEAST = 0.05;

/**
 * @param {Region} box
 * @param {number} right
 * @param {number} down
 * @returns {Region}
 */
export function moved(box, right, down) {
  const x = within(box.x + right, 0, 1 - box.width);
  const y = within(box.y + down, 0, 1 - box.height);
  return rounded({ ...box, x, y });
}

/**
 * Move the lower right corner.
 * @param {Region} box
 * @param {number} wider
 * @param {number} higher
 * @returns {Region}
 */
export function resized(box, wider, higher) {
  const width = within(box.width + wider, LEAST, 1 - box.x);
  const height = within(box.height + higher, LEAST, 1 - box.y);
  return rounded({ ...box, width, height });
}

/**
 * Return the box between two points, whichever way it was drawn.
 * @param {Point} from
 * @param {Point} to
 * @returns {Region}
 */
export function between(from, to) {
  const [left, right] = ordered(from.x, to.x);
  const [top, bottom] = ordered(from.y, to.y);
  return rounded({ x: left, y: top, width: right - left, height: bottom - top });
}

/**
 * Return, by the name of each corner, the corner opposite.
 * @param {Region} box
 * @returns {Record<string, Point>}
 */
export function oppositesOf({ x, y, width, height }) {
  const [right, bottom] = [x + width, y + height];
  return { nw: { x: right, y: bottom }, ne: { x, y: bottom }, sw: { x: right, y }, se: { x, y } };
}

/**
 * Say whether a box is too thin to search by.
 * @param {Region} box
 */
export function sliver(box) {
  return box.width < LEAST || box.height < LEAST;
}

/**
 * @param {number} a
 * @param {number} b
 * @returns {[number, number]}
 */
function ordered(a, b) {
  return [within(Math.min(a, b), 0, 1), within(Math.max(a, b), 0, 1)];
}

/**
 * @param {number} value
 * @param {number} least
 * @param {number} most
 */
function within(value, least, most) {
  return Math.min(most, Math.max(least, value));
}

/**
 * Four decimals are finer than a pixel and keep addresses short.
 * @param {Region} box
 * @returns {Region}
 */
function rounded({ x, y, width, height }) {
  const round = (/** @type {number} */ value) => Math.floor(value * 10_000 + 1e-6) / 10_000; // down: never outside
  return { x: round(x), y: round(y), width: round(width), height: round(height) };
}
