/** Getting a turn answered: the stream of its answer, then more of its pictures. */

import { announce } from "./announce.js";
import { ApiError, ask, postJson } from "./api.js";
import { PAGE_SIZE, requestBody, withEmbeddings } from "./question.js";
import { language, t } from "./strings.js";

/** @typedef {import("./turn.js").TurnView} TurnView */
/** @typedef {import("./problems.js").Problem} Problem */

/**
 * Ask a turn's question and show the answer as it comes; whatever happens is in its record afterwards.
 * @param {TurnView} view
 * @param {{signal: AbortSignal, onUnderstood: () => void}} options
 */
export async function answerTurn(view, { signal, onUnderstood }) {
  const { turn } = view;
  const events = /** @type {Record<string, (data: any) => void>} */ ({
    understood(data) {
      turn.understood = data;
      turn.question = withEmbeddings(turn.question, data.terms);
      view.update();
      onUnderstood();
    },
    hits({ hits }) {
      turn.hits.push(...hits);
      view.addHits(hits);
    },
    text({ html, markdown }) {
      turn.html = html;
      turn.markdown = markdown;
      view.update();
    },
    done(data) {
      turn.done = data;
      turn.more = data.more;
    },
  });
  try {
    const body = { ...(await requestBody(turn.question)), background: true, language: language() };
    await ask(body, { signal, onWait: (seconds) => view.wait(seconds), onEvent: (name, data) => events[name]?.(data) });
    turn.state = "done";
  } catch (error) {
    turn.state = signal.aborted ? "stopped" : "failed";
    turn.problem = signal.aborted ? null : problemOf(error);
  }
  view.update();
  if (view.element.isConnected) announce(outcome(view)); // else it is being asked anew already
}

/**
 * Fetch the next pictures of an answer.
 * @param {TurnView} view
 */
export async function growAnswer(view) {
  const { turn } = view;
  view.showFoot(null, true);
  try {
    const body = { ...(await requestBody(turn.question)), offset: turn.hits.length };
    const { hits } = await postJson("/api/search", body);
    turn.hits.push(...hits);
    turn.more = hits.length === PAGE_SIZE;
    view.addHits(hits);
    view.showFoot();
    announce(t("more-shown", { n: hits.length }));
  } catch (error) {
    view.showFoot(problemOf(error));
  }
}

/**
 * @param {unknown} error
 * @returns {Problem}
 */
function problemOf(error) {
  if (error instanceof ApiError) return { status: error.status, title: error.title, detail: error.detail };
  console.error(error);
  return { status: -1, title: "", detail: String(error) };
}

/** @param {TurnView} view */
function outcome({ turn }) {
  if (turn.state === "stopped") return t("stopped");
  if (turn.state === "failed") return t("failed");
  return turn.hits.length ? t("found", { n: turn.hits.length }) : t("nothing-found");
}
