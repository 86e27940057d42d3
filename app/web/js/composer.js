/** Where a question is put together: a box for words, chips for every part, a slider between words and pictures. */

import { balanceSlider } from "./balance.js";
import { chip } from "./chips.js";
import { fill, h, iconButton } from "./dom.js";
import { Draft, WORDS_KEY } from "./draft.js";
import { filterPlace } from "./filter_place.js";
import { notify } from "./notices.js";
import { urlOf } from "./picture_urls.js";
import { MOST_PARTS } from "./question.js";
import { sheet } from "./sheets.js";
import { t } from "./strings.js";

/** @typedef {import("./question.js").Question} Question */
/** @typedef {import("./question.js").Part} Part */
/** @typedef {import("./types.js").Filters} Filters */

/**
 * @typedef {object} ComposerOptions
 * @property {(question: Question) => void} onAsk
 * @property {() => void} onStop
 * @property {(filters: Filters) => void} onFilters
 */

export class Composer {
  /**
   * @param {ComposerOptions} options
   * @param {Draft} [draft] what is being put together already: after a change of language
   */
  constructor(options, draft = new Draft()) {
    this.options = options;
    this.draft = draft;
    this.busy = false;
    /** @type {Set<Promise<void>>} pictures that are being made small */
    this.preparing = new Set();
    this.chips = h("ul", { class: "chips", "aria-label": t("parts") });
    this.slider = balanceSlider((alpha) => {
      draft.setAlpha(alpha);
      this.#showParts();
    });
    this.box = h("textarea", {
      id: "question",
      class: "box",
      rows: 1,
      enterkeyhint: "send",
      "aria-label": t("question"),
      placeholder: t("placeholder"),
    });
    this.partButton = iconButton("add-part", t("words-to-part"), { onclick: () => this.#wordsToPart() });
    this.sendPlace = h("span", { class: "send-place" });
    this.voice = iconButton("voice", t("voice"), {
      class: "voice",
      "aria-pressed": false,
      onclick: () => this.#hear(),
    });
    this.voice.hidden = !("SpeechRecognition" in window || "webkitSpeechRecognition" in window);
    /** @type {import("./voice.js").Listening | null} */
    this.listening = null;
    this.filters = filterPlace(
      () => draft.filters,
      (filters) => {
        draft.filters = filters;
        options.onFilters(filters);
      },
    );
    this.element = h(
      "form",
      { class: "composer", novalidate: true, "aria-label": t("composer") },
      this.chips,
      this.slider.element,
      this.box,
      this.#tools(),
    );
    this.#listen();
    this.#showAll();
  }

  /**
   * Put a question into the composer, to change it or to add to it.
   * @param {Question} question
   */
  load(question) {
    this.draft.load(question);
    this.#showAll();
    this.filters.show();
  }

  /** Empty the box and the chips; filters stay. */
  clear() {
    this.load({ parts: [], filters: this.draft.filters });
  }

  /** @param {Part} part */
  add(part) {
    if (this.draft.add(part) === null) notify(t("too-many-parts", { n: MOST_PARTS }));
    this.#showParts();
    this.focus();
  }

  /** @param {Iterable<File>} files */
  addFiles(files) {
    const work = this.#attach(files).finally(() => this.preparing.delete(work));
    this.preparing.add(work);
    this.focus();
  }

  /** @param {Iterable<File>} files */
  async #attach(files) {
    const { attach } = await import("./attachments.js");
    await attach(this.draft, files, () => this.#showParts());
  }

  /** @param {Filters} filters */
  setFilters(filters) {
    this.draft.filters = filters;
    this.filters.show();
  }

  /**
   * Show a button to stop while a question is being asked.
   * @param {boolean} busy
   */
  setBusy(busy) {
    if (this.busy === busy) return;
    this.busy = busy;
    this.#showSend();
  }

  focus() {
    this.box.focus({ preventScroll: true });
  }

  #listen() {
    this.box.addEventListener("input", () =>
      this.draft.setText(this.box.value) ? this.#showParts() : this.#showWords(),
    );
    this.box.addEventListener("keydown", (event) => this.#boxKey(event));
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
  }

  async #ask() {
    this.listening?.abort();
    await Promise.all(this.preparing);
    const { question } = this.draft;
    if (!question.parts.length) return this.focus();
    this.clear();
    if (matchMedia("(hover: none)").matches) this.box.blur(); // the keyboard goes, the answer has its room
    this.options.onAsk(question);
  }

  /** @param {KeyboardEvent} event */
  #boxKey(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) this.#wordsToPart();
    else this.#ask();
  }

  #wordsToPart() {
    this.draft.wordsToPart();
    this.#showAll();
    this.focus();
  }

  #showAll() {
    this.box.value = this.draft.words.text;
    this.#showParts();
  }

  #showParts() {
    const { parts, others } = this.draft;
    const shown = others.length ? parts : []; // words alone need no chip
    fill(
      this.chips,
      shown.map((part) => this.#chip(part)),
    );
    this.chips.hidden = shown.length === 0;
    this.slider.show(parts);
    this.#showSend();
    growBox(this.box);
  }

  #showWords() {
    const chip = this.draft.words.text.trim() && this.chips.querySelector(".chip-words");
    if (chip) chip.textContent = this.draft.words.text;
    growBox(this.box);
  }

  /** @param {Part} part */
  #chip(part) {
    const key = part.key ?? WORDS_KEY;
    const cut = part.kind === "gallery" || (part.kind === "picture" && part.thumbnail !== null);
    return chip(part, {
      onWeight: (weight) => {
        this.draft.setWeight(key, weight);
        this.slider.show(this.draft.parts);
      },
      onRemove: () => {
        this.draft.remove(key);
        this.#showAll();
        this.focus();
      },
      ...(cut ? { onRegion: () => this.#chooseRegion(key, part) } : {}),
    });
  }

  /**
   * @param {number} key
   * @param {Part} part
   */
  async #chooseRegion(key, part) {
    if (part.kind === "text") return;
    const own = part.kind === "picture" && (part.picture ?? part.thumbnail);
    const url = part.kind === "gallery" ? `/api/images/${part.image_id}/file` : own ? urlOf(own) : "";
    const [{ selectRegion }] = await Promise.all([import("./region.js"), sheet("views")]);
    const region = await selectRegion(url, part.kind === "gallery" ? part.title : part.name);
    if (region) this.draft.change(key, { region, embedding: null });
    this.#showParts();
  }

  #tools() {
    const files = h("input", { type: "file", accept: "image/*", multiple: true, hidden: true });
    files.addEventListener("change", () => {
      this.addFiles([...(files.files ?? [])]);
      files.value = "";
    });
    return h(
      "div",
      { class: "composer-tools" },
      iconButton("attach", t("attach"), { onclick: () => files.click() }),
      files,
      this.voice,
      this.filters.element,
      h("span", { class: "spacer" }),
      this.partButton,
      this.sendPlace,
    );
  }

  async #hear() {
    if (this.listening) return this.listening.stop();
    const { listen } = await import("./voice.js");
    const onText = (/** @type {string} */ text) => {
      this.draft.setText(text);
      this.#showAll();
    };
    const onEnd = () => {
      this.listening = null;
      this.voice.setAttribute("aria-pressed", "false");
    };
    this.listening = listen({ before: this.draft.words.text.trim(), onText, onEnd });
    this.voice.setAttribute("aria-pressed", "true");
  }

  #showSend() {
    this.partButton.hidden = !this.draft.words.text.trim();
    const send = { type: "submit", class: this.draft.parts.length ? "send" : "send empty" };
    const stop = { class: "send", onclick: this.options.onStop };
    fill(this.sendPlace, this.busy ? iconButton("stop", t("stop"), stop) : iconButton("send", t("send"), send));
  }
}

/**
 * Make the box as high as its text; where CSS can do that, it does.
 * @param {HTMLTextAreaElement} box
 */
function growBox(box) {
  if (CSS.supports("field-sizing", "content")) return;
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}
