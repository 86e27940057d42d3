/** The head of the page: its three views, language, theme, and forgetting the history. */

import { byId, fill, h, icon, iconButton } from "./dom.js";
import { notify } from "./notices.js";
import { remember } from "./remembered.js";
import { LANGUAGES, language, setLanguage, t } from "./strings.js";

const VIEWS = [
  { name: "talk", href: "#/", key: "ask", shape: "search" },
  { name: "upload", href: "#/upload", key: "upload", shape: "upload" },
  { name: "collections", href: "#/collections", key: "collections", shape: "collections" },
];

/**
 * Show the header, with the view that is open marked.
 * @param {string} view
 * @param {{onClear: () => void}} on
 */
export function showHeader(view, { onClear }) {
  byId("skip-link").textContent = t("skip");
  fill(
    byId("top"),
    h(
      "a",
      { class: "brand", href: "#/" },
      h("img", { src: "/assets/icon.svg", alt: "", width: 28, height: 28 }),
      h("span", null, "image-retrieval"),
    ),
    h(
      "nav",
      { class: "views", "aria-label": t("nav") },
      VIEWS.map((each) => viewLink(each, view)),
    ),
    h(
      "div",
      { class: "top-tools" },
      languageBox(),
      iconButton("theme", t("theme"), { onclick: switchTheme }),
      iconButton("forget", t("clear-history"), { onclick: onClear }),
    ),
  );
}

/**
 * @param {{name: string, href: string, key: string, shape: string}} view
 * @param {string} open
 */
function viewLink({ name, href, key, shape }, open) {
  const current = name === open ? "page" : null;
  return h(
    "a",
    { class: "view-link", href, title: t(key), "aria-current": current },
    icon(shape),
    h("span", null, t(key)),
  );
}

function languageBox() {
  const box = h(
    "select",
    { "aria-label": t("language"), title: t("language") },
    Object.entries(LANGUAGES).map(([code, name]) =>
      h("option", { value: code, selected: code === language(), lang: code }, name),
    ),
  );
  box.addEventListener("change", async () => {
    try {
      await setLanguage(box.value === "vi" ? "vi" : "en");
    } catch {
      box.value = language();
      return notify(t("problem-0-text"));
    }
    byId("top").querySelector("select")?.focus(); // the one that stands there now
  });
  return h(
    "span",
    { class: "language" },
    icon("globe"),
    h("span", { "aria-hidden": true }, language().toUpperCase()),
    box,
  );
}

function switchTheme() {
  const root = document.documentElement;
  const shown = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = shown === "dark" ? "light" : "dark";
  remember("theme", root.dataset.theme);
}
