/**
 * Elements. Nothing else in the page makes any: what comes from people or from the server becomes a text node,
 * so it can never be markup.
 */

/**
 * @typedef {Node | string | number | null | undefined | false | Child[]} Child
 * A node, words, nothing, or a list of those.
 */

/**
 * @typedef {Record<string, any>} Properties
 * Attributes by name. A function under `onclick` listens to click. `true` sets an empty attribute; `false`, null and
 * undefined leave it out (an aria- attribute says "true" or "false"). `dataset` and `style` take objects;
 * `value`, `checked` and `indeterminate` are set as properties.
 */

const LIVE = new Set(["value", "checked", "indeterminate"]);

/**
 * Return a new element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Properties | null} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) setProperty(element, name, value);
  append(element, children);
  return element;
}

/**
 * Replace what an element holds.
 * @param {Element} element
 * @param {...Child} children
 */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/**
 * Return a decorative icon: style.css has its shape under the name.
 * @param {string} name
 */
export function icon(name) {
  return h("span", { class: `icon icon-${name}`, "aria-hidden": true });
}

/**
 * Return a button that shows only an icon; its label is its name and its tooltip.
 * @param {string} name of the icon
 * @param {string} label
 * @param {Properties} [properties]
 */
export function iconButton(name, label, properties) {
  const { class: classes = "", ...rest } = properties ?? {};
  const attributes = { type: "button", class: `icon-button ${classes}`.trim(), "aria-label": label, title: label };
  return h("button", { ...attributes, ...rest }, icon(name));
}

/**
 * Return the element of that id, which index.html has.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no element #${id}`);
  return found;
}

/**
 * @param {HTMLElement} element
 * @param {string} name
 * @param {any} value
 */
function setProperty(element, name, value) {
  if (typeof value === "function") element.addEventListener(name.slice(2), value);
  else if (name === "dataset") Object.assign(element.dataset, value);
  else if (name === "style")
    for (const [property, set] of Object.entries(value)) element.style.setProperty(property, String(set));
  else if (LIVE.has(name)) Object.assign(element, { [name]: value });
  else if (value === null || value === undefined) return;
  else if (name.startsWith("aria-") || typeof value !== "boolean") element.setAttribute(name, String(value));
  else element.toggleAttribute(name, value);
}

/**
 * @param {Element} element
 * @param {Child[]} children
 */
function append(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(element, child);
    else if (child instanceof Node) element.append(child);
    else if (child !== null && child !== undefined && child !== false) element.append(String(child));
  }
}
