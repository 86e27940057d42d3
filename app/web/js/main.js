/** Composition root of the page: the conversation and its composer, the views beside it, the address. */

import { addressOf, questionIn } from "./address.js";
import { announce } from "./announce.js";
import { getJson } from "./api.js";
import { Composer } from "./composer.js";
import { Conversation, prepareTurns } from "./conversation.js";
import { byId, fill, h } from "./dom.js";
import { listenForPictures } from "./drops.js";
import { emptyState } from "./empty_state.js";
import { showHeader } from "./header.js";
import { currentPlace, goTo, keepPlaces, reveal, savePlace } from "./places.js";
import { problemCard } from "./problems.js";
import { galleryPart, lessLike, moreLike, noFilters, textPart } from "./question.js";
import { sheet } from "./sheets.js";
import { language, onLanguage, t } from "./strings.js";

/** @typedef {import("./question.js").Question} Question */
/** @typedef {import("./turn.js").Turn} Turn */
/** @typedef {import("./turn.js").TurnView} TurnView */
/** @typedef {import("./types.js").Actions} Actions */
/** @typedef {import("./types.js").Filters} Filters */
/** @typedef {import("./types.js").Hit} Hit */

const VIEWS = ["talk", "upload", "collections"];

const empty = h("div", { class: "empty-place" });
const bar = h("div", { hidden: true, dataset: { testid: "selection-bar" } });
const conversation = new Conversation({
  actions: actionsOn,
  onStart: showStart,
  onEdit: edit,
  onSelect: select,
  onAddress: showAddress,
  onChange: showState,
});
const composerOptions = {
  onAsk: ask,
  onStop: () => conversation.stop(),
  onFilters: refilter,
};
let composer = new Composer(composerOptions);
/** @type {import("./selection.js").Selection | null} made when the first picture is selected */
let selection = null;
/** @type {TurnView | null} the turn whose pictures are being selected */
let selecting = null;
let view = "";
let shown = "";
/** @type {number | null} */
let images = null;

await start();

async function start() {
  keepPlaces(() => view === "talk");
  const dock = h("div", { class: "dock" }, bar, composer.element);
  fill(byId("view-talk"), h("h1", { class: "visually-hidden" }, "image-retrieval"), empty, conversation.element, dock);
  listenForPictures({
    isActive: () => view === "talk" && !document.querySelector("dialog[open], [role=dialog]"),
    onFiles: (files) => composer.addFiles(files),
    onImageId: addById,
  });
  addEventListener("popstate", arrive);
  addEventListener("keydown", stopOnEscape);
  onLanguage(translate);
  for (const sign of ["pointermove", "pointerdown", "keydown"]) addEventListener(sign, expectQuestion, { once: true });
  if (questionIn(location.hash)) expectQuestion();
  showState();
  await showView();
  await conversation.restore();
  showState();
  await arrive();
  if (view === "talk" && matchMedia("(hover: hover)").matches) composer.focus(); // on a phone it would open the keyboard
}

/** Somebody is there, and may ask. */
function expectQuestion() {
  prepareTurns().catch(() => {}); // whoever asks will be told
}

/** Tell, before the first question, how many pictures there are to ask for. */
async function showSize() {
  images = (await getJson("/api/status").catch(() => ({ images: null }))).images;
  showState();
}

/** @param {string} words */
function askInWords(words) {
  ask({ parts: [textPart(words)], filters: composer.draft.filters });
}

/** @param {Question} question */
async function ask(question) {
  savePlace();
  adoptFilters(question);
  await conversation.ask(question);
}

/** @param {TurnView} asked */
function showStart({ element }) {
  showState(); // before the turn is revealed: what stood above it is gone then
  reveal(element);
  if (document.activeElement?.closest(".turn")) element.focus({ preventScroll: true }); // not left far above
}

/**
 * Show the filters of the question that is being looked at, so that the next one keeps them.
 * @param {Question} question
 */
function adoptFilters({ filters }) {
  if (!composer.draft.parts.length) composer.setFilters(filters);
}

/** @param {Question} question */
function edit(question) {
  composer.load(question);
  composer.focus();
}

/**
 * Return what can be done with the pictures of a turn: each builds on the question that found them.
 * @param {Turn} turn
 * @returns {Actions}
 */
function actionsOn(turn) {
  return {
    moreLike: (hit) => ask(moreLike(turn.question, hit)),
    lessLike: (hit) => ask(lessLike(turn.question, hit)),
    addToQuestion(hit, { weight, region = null } = {}) {
      if (!composer.draft.parts.length) composer.load(turn.question);
      const part = galleryPart(hit, region);
      composer.add(weight === undefined ? part : { ...part, weight, pinned: true });
      announce(t("added", { name: part.title }));
    },
    searchRegion: (hit, region) => ask({ parts: [galleryPart(hit, region)], filters: turn.question.filters }),
  };
}

/** @param {string} id of a picture that was dragged out of an answer */
function addById(id) {
  const hit = conversation.views.flatMap(({ turn }) => turn.hits).find((found) => found.id === id);
  composer.add(galleryPart(hit ?? { id, captions: [], uri: "" }));
}

/**
 * Ask the last question again with other filters, unless another is being written.
 * @param {Filters} filters
 */
function refilter(filters) {
  const last = conversation.views.at(-1);
  if (last && !composer.draft.parts.length) conversation.askAgain(last, { ...last.turn.question, filters });
}

/**
 * Select a picture, or take it out of the selection; all that is selected belongs to one answer.
 * @param {TurnView} of
 * @param {Hit} hit
 * @param {boolean} range
 */
async function select(of, hit, range) {
  const [{ mountSelection }] = await Promise.all([import("./selection.js"), sheet("views")]);
  selection ??= mountSelection(
    bar,
    () => selecting?.turn.hits ?? [],
    (ids) => selecting?.results.showSelected(ids),
    () => selecting?.turn.understood ?? null,
  );
  if (selecting !== of) selection.clear();
  selecting = of;
  selection.toggle(hit.id, { range });
}

/**
 * Put a turn's question into the address: a new entry, unless this one is that turn's already.
 * @param {Turn} turn
 */
function showAddress(turn) {
  const address = addressOf(turn.question);
  if (address === null) return;
  if (address === location.hash) history.replaceState({ turn: turn.id }, "");
  else history.pushState({ turn: turn.id }, "", address);
  showTitle(turn.question);
  adoptFilters(turn.question);
}

/** Show what the address says: a view, a question that is here already, or one to ask. */
async function arrive() {
  await showView();
  if (view !== "talk") return;
  if (!conversation.views.length) showSize();
  const { turn: id, place } = history.state ?? {};
  const question = questionIn(location.hash);
  showTitle(question ?? { parts: [] });
  if (question) {
    history.replaceState(history.state, "", addressOf(question)); // as this page writes it
    adoptFilters(question);
  }
  const found =
    conversation.find(id) ?? conversation.views.findLast(({ turn }) => addressOf(turn.question) === location.hash);
  if (!question) {
    if (place) goTo(place);
    else conversation.element.lastElementChild?.scrollIntoView({ block: "start" });
  } else if (!found) await ask(question);
  else if (addressOf(found.turn.question) !== location.hash) await conversation.askAgain(found, question);
  else if (place) goTo(place);
  else reveal(found.element);
}

async function showView() {
  const name = location.hash.replace(/^#\/?/, "").split("?")[0] ?? "";
  view = VIEWS.includes(name) ? name : "talk";
  const next = `${view} ${language()}`;
  if (next === shown) return; // a form that is being filled in is not made anew
  shown = next;
  for (const each of VIEWS) byId(`view-${each}`).hidden = each !== view;
  showHeader(view, { onClear: clearHistory });
  const place = byId(`view-${view}`);
  try {
    if (view !== "talk") await sheet("rooms");
    if (view === "upload") (await import("./upload.js")).mountUpload(place);
    if (view === "collections") (await import("./collections.js")).mountCollections(place, { onPick: pickCollection });
  } catch (error) {
    shown = "";
    fill(place, problemCard({ status: 0, title: "", detail: String(error) }, { onRetry: showView, onEdit: showView }));
  }
}

/** @param {string} name */
function pickCollection(name) {
  composer.setFilters({ ...noFilters(), collection: name });
  location.hash = "#/";
  composer.focus();
}

async function clearHistory() {
  const words = { title: t("clear-title"), text: t("clear-text"), action: t("clear-history") };
  const { confirmed } = await import("./dialogs.js");
  if (!(await confirmed(words))) return;
  await conversation.clear();
  composer.load({ parts: [], filters: noFilters() });
  history.replaceState(null, "", "#/");
  announce(t("cleared"));
  showState();
}

function showState() {
  const { views } = conversation;
  composer.setBusy(conversation.asking !== null);
  if (selecting && !views.includes(selecting)) selection?.clear();
  byId("view-talk").classList.toggle("is-empty", views.length === 0);
  fill(empty, views.length === 0 && emptyState({ images, onAsk: askInWords }));
}

function translate() {
  const place = currentPlace();
  const { draft, busy, element } = composer;
  composer = new Composer(composerOptions, draft);
  composer.setBusy(busy);
  element.replaceWith(composer.element);
  conversation.rerender();
  selection?.clear();
  selection?.refresh();
  showState();
  showView();
  if (place) goTo(place);
}

/** @param {KeyboardEvent} event */
function stopOnEscape(event) {
  if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open], [role=dialog]")) return;
  conversation.stop();
}

/** @param {{parts: Question["parts"]}} question */
function showTitle({ parts }) {
  const words = parts.flatMap((part) => (part.kind === "text" ? [part.text] : [])).join(", ");
  document.title = words ? `${words} · image-retrieval` : "image-retrieval";
}
