/** What the page shows before the first question: what can be asked, and how. */

import { h, icon } from "./dom.js";
import { t } from "./strings.js";

const EXAMPLES = [
  { lang: "en", text: "white boats at sea" },
  { lang: "en", text: "a cat in the snow" },
  { lang: "en", text: "houses at sunset" },
  { lang: "vi", text: "thuyền trắng trên biển" },
  { lang: "vi", text: "con mèo đen vào ban đêm" },
  { lang: "vi", text: "ngôi nhà lúc hoàng hôn" },
];

/**
 * Return the empty state; an example asks itself.
 * @param {{images: number | null, onAsk: (words: string) => void}} options
 */
export function emptyState({ images, onAsk }) {
  const example = (/** @type {{lang: string, text: string}} */ { lang, text }) =>
    h(
      "li",
      null,
      h(
        "button",
        {
          type: "button",
          class: "example",
          lang,
          onclick: () => onAsk(text),
        },
        icon("search"),
        text,
      ),
    );
  return h(
    "div",
    { class: "empty-state", dataset: { testid: "empty-state" } },
    h("h2", null, t("empty-title")),
    h("p", null, t("empty-text")),
    images === 0
      ? h("p", null, t("empty-gallery"), " ", h("a", { href: "#/upload" }, t("upload-pictures")))
      : h("ul", { class: "examples", "aria-label": t("examples") }, EXAMPLES.map(example)),
    images !== null && images > 0 && h("p", { class: "quiet" }, t("gallery-size", { n: images })),
  );
}
