/**
 * The answer's formatted text. The service has sanitised it already; it is built anew here from a list of elements
 * without attributes, so that nothing else can come in, out of a history kept in the browser either.
 */

import { h } from "./dom.js";

/** @typedef {import("./dom.js").Child} Child */

const ELEMENTS = /** @type {const} */ ([
  "p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li",
  "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "a",
]); // prettier-ignore

/**
 * Return the nodes of an HTML text: known elements, and the words of all others.
 * @param {string} html
 * @returns {Child[]}
 */
export function prose(html) {
  return copied(new DOMParser().parseFromString(html, "text/html").body);
}

/**
 * @param {Element} parent
 * @returns {Child[]}
 */
function copied(parent) {
  return Array.from(parent.childNodes, (node) => {
    if (node instanceof Text) return node.data;
    if (!(node instanceof Element)) return null;
    const tag = ELEMENTS.find((name) => name === node.localName);
    if (!tag) return ["script", "style", "template"].includes(node.localName) ? null : copied(node);
    const element = h(tag, tag === "a" ? link(node) : null, copied(node));
    return tag === "table" ? h("div", { class: "table-scroll", tabindex: 0 }, element) : element;
  });
}

/** @param {Element} node */
function link(node) {
  const href = node.getAttribute("href") ?? "";
  if (/^(#|\/(?!\/))/.test(href)) return { href };
  return /^https?:\/\//i.test(href) ? { href, target: "_blank", rel: "noopener noreferrer" } : null;
}
