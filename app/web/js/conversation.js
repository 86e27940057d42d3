/** The conversation: its turns, one being asked at a time, kept in the history. */

import { fill, h } from "./dom.js";
import { HistoryError, forgetTurns, keepTurn, keptTurns } from "./history.js";
import { notify } from "./notices.js";
import { forgetUrls } from "./picture_urls.js";
import { problemCard } from "./problems.js";
import { t } from "./strings.js";

/** @typedef {import("./question.js").Question} Question */
/** @typedef {import("./turn.js").Turn} Turn */
/** @typedef {import("./turn.js").TurnView} TurnView */
/** @typedef {import("./turn.js").Room} Room */

const SHOWN_AT_ONCE = 12;

/** @type {Awaited<ReturnType<typeof fetchRooms>>} what shows a turn and gets it answered */
let rooms;

/** Load what shows a turn and gets it answered: nothing of it is needed before there is a question. */
export async function prepareTurns() {
  rooms ??= await fetchRooms();
}

async function fetchRooms() {
  const [shown, asked] = await Promise.all([import("./turn.js"), import("./asking.js")]);
  return { ...shown, ...asked };
}

/**
 * @typedef {object} Around what the page does when something happens in the conversation
 * @property {(view: TurnView) => void} onStart a new turn stands at the end
 * @property {Room["actions"]} actions
 * @property {Room["onEdit"]} onEdit
 * @property {Room["onSelect"]} onSelect
 * @property {(turn: Turn) => void} onAddress a turn's question has its whole address now
 * @property {() => void} onChange asking began or ended, or the turns are others
 */

export class Conversation {
  /** @param {Around} around */
  constructor(around) {
    this.around = around;
    this.element = h("div", { class: "conversation" });
    /** @type {TurnView[]} */
    this.views = [];
    /** @type {Turn[]} */
    this.earlier = [];
    /** @type {AbortController | null} */
    this.asking = null;
    this.kept = true;
  }

  /** @returns {Turn | undefined} */
  get last() {
    return this.views.at(-1)?.turn;
  }

  /** Show the turns that the browser has kept. */
  async restore() {
    const turns = await this.#survivingStorage(keptTurns);
    if (!turns?.length) return;
    await prepareTurns();
    this.earlier = turns.map(interrupted);
    this.#showEarlier();
  }

  /**
   * Ask a question as a new turn, in place of one that is still being asked.
   * @param {Question} question
   */
  async ask(question) {
    try {
      await prepareTurns();
    } catch (error) {
      return this.#cannotAsk(question, error);
    }
    const view = this.#view(rooms.newTurn(question));
    this.views.push(view);
    this.element.append(view.element);
    this.around.onStart(view);
    await this.#answer(view);
  }

  /**
   * Ask again in the same turn, perhaps another question.
   * @param {TurnView} view
   * @param {Question} [question]
   */
  askAgain(view, question = view.turn.question) {
    return this.#answer(this.#replace(view, rooms.newTurn(question, view.turn)));
  }

  /** Stop asking; what has come so far stays. */
  stop() {
    this.asking?.abort();
  }

  /**
   * Return the turn of that id, if it is shown.
   * @param {string | undefined} id
   */
  find(id) {
    return this.views.find((view) => view.turn.id === id);
  }

  /** Show everything anew, after a change of language. */
  rerender() {
    for (const view of this.views) if (view.turn.state !== "asking") this.#replace(view, view.turn);
    this.#markNewest();
  }

  /** Forget every turn and every picture, here and in the browser's storage. */
  async clear() {
    this.stop();
    this.views = [];
    this.earlier = [];
    fill(this.element);
    forgetUrls();
    await this.#survivingStorage(forgetTurns);
    this.around.onChange();
  }

  /**
   * Say that the service is gone, where an answer would be.
   * @param {Question} question
   * @param {unknown} error
   */
  #cannotAsk(question, error) {
    const again = () => {
      card.remove();
      this.ask(question);
    };
    const on = { onRetry: again, onEdit: () => this.around.onEdit(question) };
    const card = problemCard({ status: 0, title: "", detail: String(error) }, on);
    this.element.append(card);
  }

  /** @param {TurnView} view */
  async #answer(view) {
    this.stop();
    const controller = new AbortController();
    this.asking = controller;
    this.#markNewest();
    this.around.onAddress(view.turn);
    this.around.onChange();
    await rooms.answerTurn(view, { signal: controller.signal, onUnderstood: () => this.around.onAddress(view.turn) });
    if (this.asking === controller) this.asking = null;
    this.around.onChange();
    await this.#keep(view);
  }

  /** @param {TurnView} view */
  async #grow(view) {
    await rooms.growAnswer(view);
    await this.#keep(view);
  }

  /** @param {TurnView} view */
  async #keep(view) {
    if (this.views.includes(view)) await this.#survivingStorage(() => keepTurn(view.turn));
  }

  /** @param {Turn} turn */
  #view(turn) {
    const { actions, onEdit, onSelect } = this.around;
    return new rooms.TurnView(turn, {
      actions,
      onEdit,
      onSelect,
      onRetry: (view, question) => this.askAgain(view, question),
      onWantMore: (view) => this.#grow(view),
    });
  }

  /**
   * @param {TurnView} view
   * @param {Turn} turn
   */
  #replace(view, turn) {
    const next = this.#view(turn);
    this.views = this.views.map((other) => (other === view ? next : other));
    view.element.replaceWith(next.element);
    return next;
  }

  #markNewest() {
    for (const view of this.views) view.setNewest(view === this.views.at(-1));
  }

  #showEarlier() {
    const views = this.earlier.splice(-SHOWN_AT_ONCE).map((turn) => this.#view(turn));
    this.views.unshift(...views);
    const button = h(
      "button",
      { type: "button", class: "button earlier", onclick: () => this.#showEarlier() },
      t("earlier-questions"),
    );
    this.element.querySelector(".earlier")?.remove();
    this.element.prepend(...(this.earlier.length ? [button] : []), ...views.map((view) => view.element));
    this.#markNewest();
  }

  /**
   * Do something with the storage; where it is full or forbidden say so, once, and go on without.
   * @template Result
   * @param {() => Promise<Result>} work
   * @returns {Promise<Result | undefined>}
   */
  async #survivingStorage(work) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof HistoryError)) throw error;
      if (this.kept) notify(t(error.full ? "history-full" : "history-forbidden"));
      this.kept = false;
      return undefined;
    }
  }
}

/**
 * Return a kept turn as it is after a reload: what was being asked then was stopped.
 * @param {Turn} turn
 * @returns {Turn}
 */
function interrupted(turn) {
  return turn.state === "asking" ? { ...turn, state: "stopped" } : turn;
}
