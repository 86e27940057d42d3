/** Arrow keys in a grid of tiles, and Tab through the controls of the current one alone. */

const CONTROLS = "a, button, input";
const FORWARD = /** @type {Record<string, number>} */ ({ ArrowRight: 1, ArrowLeft: -1 });
const ROWS = /** @type {Record<string, number>} */ ({ ArrowDown: 1, ArrowUp: -1 });

/**
 * Make a list of tiles one stop of the Tab key, then the controls of the tile that has the focus.
 * @param {HTMLElement} list
 */
export function gridKeys(list) {
  /** @type {Element | null} */
  let current = null;
  const makeCurrent = (/** @type {Element | null} */ tile) => {
    for (const control of current?.querySelectorAll(CONTROLS) ?? []) control.setAttribute("tabindex", "-1");
    for (const control of tile?.querySelectorAll(CONTROLS) ?? []) control.setAttribute("tabindex", "0");
    current = tile;
  };
  list.addEventListener("focusin", (event) => makeCurrent(/** @type {Element} */ (event.target).closest(".tile")));
  list.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !current) return;
    const next = neighbour(tilesOf(list), current, event.key);
    if (!next) return;
    event.preventDefault();
    next.querySelector("a")?.focus();
    next.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  new MutationObserver(() => {
    if (!current?.isConnected) makeCurrent(list.querySelector(".tile:not(.skeleton)"));
  }).observe(list, { childList: true });
}

/** @param {HTMLElement} list */
function tilesOf(list) {
  return /** @type {HTMLElement[]} */ (Array.from(list.querySelectorAll(".tile:not(.skeleton)")));
}

/**
 * Return the tile that a key leads to.
 * @param {HTMLElement[]} tiles
 * @param {Element} current
 * @param {string} key
 * @returns {HTMLElement | undefined}
 */
function neighbour(tiles, current, key) {
  const index = tiles.findIndex((tile) => tile === current);
  if (key === "Home") return tiles[0];
  if (key === "End") return tiles.at(-1);
  if (key in FORWARD) return tiles[index + (FORWARD[key] ?? 0)];
  if (key in ROWS) return inNextRow(tiles, tiles[index], ROWS[key] ?? 0);
  return undefined;
}

/**
 * Return the tile of the next row, or of the row before, that lies closest below or above.
 * @param {HTMLElement[]} tiles
 * @param {HTMLElement | undefined} from
 * @param {number} direction
 */
function inNextRow(tiles, from, direction) {
  if (!from) return undefined;
  const beyond = tiles.filter((tile) => direction * (tile.offsetTop - from.offsetTop) > 1);
  const row = (direction > 0 ? beyond[0] : beyond.at(-1))?.offsetTop;
  const middle = (/** @type {HTMLElement} */ tile) => tile.offsetLeft + tile.offsetWidth / 2;
  const distance = (/** @type {HTMLElement} */ tile) => Math.abs(middle(tile) - middle(from));
  return beyond.filter((tile) => tile.offsetTop === row).sort((a, b) => distance(a) - distance(b))[0];
}
