/** One turn of the conversation: the question, and its answer as it comes. The record is data; the view shows it. */

import { announce } from "./announce.js";
import { answerHead } from "./answer_head.js";
import { questionBubble } from "./bubble.js";
import { copy } from "./copying.js";
import { fill, h, icon } from "./dom.js";
import { problemCard } from "./problems.js";
import { noFilters } from "./question.js";
import { Results } from "./results.js";
import { sheet } from "./sheets.js";
import { shownToggle } from "./shown.js";
import { formatNumber, t } from "./strings.js";

/** @typedef {import("./question.js").Question} Question */
/** @typedef {import("./problems.js").Problem} Problem */
/** @typedef {import("./types.js").Hit} Hit */
/** @typedef {import("./types.js").Actions} Actions */
/** @typedef {import("./types.js").Understood} Understood */
/** @typedef {import("./types.js").Done} Done */

/**
 * @typedef {object} Turn what is known of a turn; kept in the history as it is
 * @property {string} id
 * @property {string} asked_at ISO 8601
 * @property {Question} question
 * @property {"asking" | "done" | "stopped" | "failed"} state
 * @property {Understood | null} understood
 * @property {Hit[]} hits
 * @property {string} html
 * @property {string} markdown
 * @property {Done | null} done
 * @property {boolean} more whether there are more pictures to ask for
 * @property {Problem | null} problem
 */

/**
 * @typedef {object} Room what a turn asks of the conversation around it
 * @property {(turn: Turn) => Actions} actions
 * @property {(view: TurnView, question: Question) => void} onRetry the question is to be asked in this turn's place
 * @property {(question: Question) => void} onEdit
 * @property {(view: TurnView) => Promise<void>} onWantMore
 * @property {(view: TurnView, hit: Hit, range: boolean) => void} onSelect
 */

/**
 * Return the record of a question that nobody has answered yet.
 * @param {Question} question
 * @param {{id: string, asked_at: string}} [place] of the turn that is asked again
 * @returns {Turn}
 */
export function newTurn(question, { id, asked_at } = { id: newId(), asked_at: new Date().toISOString() }) {
  const nothing = { understood: null, hits: [], html: "", markdown: "", done: null, more: false, problem: null };
  return { id, asked_at, question, state: "asking", ...nothing };
}

export class TurnView {
  /**
   * @param {Turn} turn
   * @param {Room} room
   */
  constructor(turn, room) {
    this.turn = turn;
    this.room = room;
    this.newest = false;
    this.countdown = 0;
    this.loading = false;
    this.head = h("div", { class: "answer-head" });
    this.tools = h("div", { class: "answer-tools" });
    this.results = new Results({
      actions: room.actions(turn),
      onEnd: () => this.#wantMore(),
      onSelect: (hit, range) => room.onSelect(this, hit, range),
      terms: () => this.turn.understood?.terms ?? [],
    });
    this.foot = h("div", { class: "answer-foot" });
    this.answer = h(
      "div",
      { class: "answer", role: "group", "aria-label": t("answer"), dataset: { testid: "answer" } },
      this.head,
      this.tools,
      this.results.element,
      this.foot,
    );
    const bubble = questionBubble(turn.question, { onEdit: () => room.onEdit(this.turn.question) });
    this.element = h(
      "article",
      { class: "turn", id: `turn-${turn.id}`, tabindex: -1, dataset: { testid: "turn" } },
      bubble,
      this.answer,
    );
    this.results.add(turn.hits);
    this.update();
  }

  /** Show the record's state: what is being waited for, or what came of it. */
  update() {
    const { turn, room } = this;
    clearInterval(this.countdown);
    this.answer.setAttribute("aria-busy", String(turn.state === "asking"));
    fill(
      this.head,
      answerHead(turn, {
        onRetry: () => room.onRetry(this, turn.question),
        onUnfilter: () => room.onRetry(this, { ...turn.question, filters: noFilters() }),
        onEdit: () => room.onEdit(turn.question),
      }),
    );
    if (turn.state === "asking" && !turn.hits.length) this.results.wait();
    else if (turn.state !== "asking") this.results.settle();
    this.#showTools();
    this.showFoot();
  }

  /** @param {Hit[]} hits */
  addHits(hits) {
    this.results.add(hits);
  }

  /**
   * Count down to the next try of a service that is busy.
   * @param {number} seconds
   */
  wait(seconds) {
    clearInterval(this.countdown);
    const words = h("span");
    const count = () => {
      words.textContent = t("busy", { n: Math.max(0, seconds--) });
    };
    count();
    announce(words.textContent ?? "");
    this.countdown = window.setInterval(count, 1000);
    fill(this.head, h("p", { class: "waiting", dataset: { testid: "busy" } }, icon("clock"), words));
  }

  /**
   * Show the end of the pictures: a way to more of them, or that these were all.
   * @param {Problem | null} [problem] why more could not be fetched
   * @param {boolean} [loading]
   */
  showFoot(problem = null, loading = false) {
    const { turn, room } = this;
    const more = () => this.#wantMore();
    this.loading = loading;
    const focused = this.foot.contains(document.activeElement);
    const all = turn.state === "done" && turn.hits.length > 0 && !turn.more;
    fill(
      this.foot,
      problem && problemCard(problem, { onRetry: more, onEdit: () => room.onEdit(turn.question) }),
      !problem && turn.more && turn.state === "done" && this.#moreButton(more, loading),
      all && h("p", { class: "quiet" }, t("that-is-all", { n: turn.hits.length })),
    );
    if (focused) this.foot.querySelector("button")?.focus({ preventScroll: true });
    this.results.growAtEnd(this.newest && turn.more && turn.state === "done" && !problem && !loading);
  }

  /** @param {boolean} newest only the newest answer grows by itself */
  setNewest(newest) {
    this.newest = newest;
    this.element.classList.toggle("newest", newest);
    this.showFoot();
  }

  async #wantMore() {
    const { turn } = this;
    if (turn.more && turn.state === "done" && !this.loading) await this.room.onWantMore(this);
  }

  #showTools() {
    const { turn } = this;
    if (!turn.hits.length) return fill(this.tools);
    const copyButton = h(
      "button",
      { type: "button", class: "tool", onclick: () => copy(answerText(turn), copyButton) },
      icon("copy"),
      h("span", null, t("copy-answer")),
    );
    const fold = h("div", { class: "how-found" });
    fill(this.tools, shownToggle("scores"), shownToggle("slider"), turn.done && copyButton, fold);
    if (turn.done && turn.understood) showHowFound(fold, turn.done, turn.understood);
  }

  /**
   * @param {() => void} more
   * @param {boolean} loading
   */
  #moreButton(more, loading) {
    return h(
      "button",
      { type: "button", class: "button", "aria-disabled": loading, onclick: more }, // it keeps the focus
      t(loading ? "loading-more" : "show-more"),
    );
  }
}

/**
 * @param {HTMLElement} fold
 * @param {Done} done
 * @param {Understood} understood
 */
async function showHowFound(fold, done, understood) {
  const [{ howFound }] = await Promise.all([import("./how_found.js"), sheet("views")]);
  fill(fold, howFound(done, understood));
}

/**
 * Return the answer as text to paste: its words, then the pictures with scores.
 * @param {Turn} turn
 */
function answerText({ markdown, hits }) {
  const line = (/** @type {Hit} */ hit) =>
    `${hit.rank}. ${hit.captions[0] || hit.uri} (${formatNumber(hit.score, { maximumFractionDigits: 3 })}) ${new URL(hit.image_url, location.href)}`;
  return [markdown.trim(), hits.map(line).join("\n")].filter(Boolean).join("\n\n");
}

/** @returns {string} unlike crypto.randomUUID also on pages without TLS */
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
