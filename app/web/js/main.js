/** Composition root of the page: the header, and which of the three views is shown. */

import { byId, fill, h } from "./dom.js";
import { LANGUAGES, language, onLanguage, setLanguage, t } from "./strings.js";

/** @type {Record<string, {load: () => Promise<any>, mount: string}>} views other than the conversation */
const OTHER_VIEWS = {
  upload: { load: () => import("./upload.js"), mount: "mountUpload" },
  collections: { load: () => import("./collections.js"), mount: "mountCollections" },
};

function showHeader() {
  const link = (/** @type {string} */ view, /** @type {string} */ key) =>
    h("a", { href: `#/${view}`, "aria-current": view === viewInAddress() ? "page" : null }, t(key));
  const languages = h(
    "select",
    { "aria-label": t("language"), onchange: () => setLanguage(languages.value === "vi" ? "vi" : "en") },
    Object.entries(LANGUAGES).map(([code, name]) => h("option", { value: code, selected: code === language() }, name)),
  );
  fill(
    byId("top"),
    h("nav", { "aria-label": t("nav") }, link("", "ask"), link("upload", "upload"), link("collections", "collections")),
    languages,
  );
}

async function showView() {
  const view = viewInAddress();
  for (const name of ["talk", "upload", "collections"]) byId(`view-${name}`).hidden = name !== (view || "talk");
  const other = OTHER_VIEWS[view];
  if (other) (await other.load())[other.mount](byId(`view-${view}`), {});
  showHeader();
}

/** @returns {string} "" for the conversation */
function viewInAddress() {
  const name = location.hash.replace(/^#\/?/, "").split("?")[0] ?? "";
  return name in OTHER_VIEWS ? name : "";
}

addEventListener("hashchange", showView);
onLanguage(showView);
await showView();
