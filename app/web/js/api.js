/**
 * The HTTP API as the page uses it: JSON in, JSON or a stream of events out. A problem (RFC 9457) becomes an
 * ApiError; a busy service (503) is asked again after the pause that it names.
 */

const RETRIES = 3;
const LONGEST_PAUSE_S = 30;

/** What went wrong; status is 0 when the service could not be reached at all. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} title
   * @param {string} detail
   */
  constructor(status, title, detail) {
    super(detail || title);
    this.name = "ApiError";
    this.status = status;
    this.title = title;
    this.detail = detail;
  }
}

/**
 * @typedef {object} Options
 * @property {AbortSignal} [signal] ends the request; the promise then rejects with an AbortError
 * @property {(seconds: number, attempt: number) => void} [onWait] the service is busy: asked again in so many seconds
 * @property {Record<string, string>} [headers]
 */

/**
 * Fetch JSON.
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<any>}
 */
export async function getJson(path, options = {}) {
  return (await send(path, { method: "GET" }, options)).json();
}

/**
 * Send JSON and fetch JSON.
 * @param {string} path
 * @param {unknown} body
 * @param {Options} [options]
 * @returns {Promise<any>}
 */
export async function postJson(path, body, options = {}) {
  return (await send(path, jsonBody(body), options)).json();
}

/**
 * Send a request, again while the service is busy or once it has been given a key, and return its response if it
 * is a success.
 * @param {string} path
 * @param {RequestInit} init
 * @param {Options} [options]
 * @returns {Promise<Response>}
 */
export async function send(path, init, { signal, onWait, headers } = {}) {
  let keyed = false;
  for (let attempt = 1; ; attempt++) {
    const response = await reach(path, { ...init, signal, headers: { ...init.headers, ...headers } });
    if (response.ok) return response;
    if (response.status === 401 && !keyed) {
      const { askForKey } = await import("./key.js"); // seldom needed
      keyed = await askForKey();
      if (keyed) continue;
    }
    if (response.status !== 503 || attempt > RETRIES) throw await problemOf(response);
    await response.body?.cancel();
    const seconds = retryAfter(response, attempt);
    onWait?.(seconds, attempt);
    await pause(1000 * seconds, signal);
  }
}

/**
 * Ask a question; every event of the answer is handed on as it comes, until `done` or `error`.
 * @param {unknown} body
 * @param {Options & {onEvent: (name: string, data: any) => void}} options
 * @returns {Promise<void>}
 */
export async function ask(body, { onEvent, ...options }) {
  const init = jsonBody(body);
  const response = await send("/api/ask", init, { ...options, headers: { accept: "text/event-stream" } });
  let ended = false;
  try {
    for await (const [name, data] of events(response)) {
      if (name === "error") throw new ApiError(data.status, data.title, data.detail);
      onEvent(name, data);
      ended ||= name === "done";
    }
  } catch (error) {
    throw asApiError(error);
  }
  if (!ended) throw new ApiError(0, "broken off", "the answer ended before it was whole");
}

/**
 * Yield the events of a text/event-stream: [name, data].
 * @param {Response} response
 * @returns {AsyncGenerator<[string, any]>}
 */
async function* events(response) {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      pending = (pending + value).replaceAll("\r\n", "\n");
      const blocks = pending.split("\n\n");
      pending = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = parsed(block);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // the stream may be broken already
  }
}

/**
 * @param {string} block lines of one event
 * @returns {[string, any] | null} null for a comment, which only keeps the connection open
 */
function parsed(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  return data.length ? [name, JSON.parse(data.join("\n"))] : null;
}

/**
 * @param {unknown} body
 * @returns {RequestInit}
 */
function jsonBody(body) {
  return { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}

/**
 * @param {string} path
 * @param {RequestInit} init
 */
async function reach(path, init) {
  try {
    return await fetch(path, init);
  } catch (error) {
    throw asApiError(error);
  }
}

/**
 * An AbortError stays one: whoever stopped the request knows why. Everything else is a connection that failed.
 * @param {unknown} error
 */
function asApiError(error) {
  if (error instanceof ApiError) return error;
  if (error instanceof DOMException && error.name === "AbortError") return error;
  return unreachable(String(error));
}

/** @param {string} detail */
function unreachable(detail) {
  return new ApiError(0, "unreachable", detail);
}

/** @param {Response} response */
async function problemOf(response) {
  const text = await response.text().catch(() => "");
  try {
    const { title, detail } = JSON.parse(text);
    return new ApiError(response.status, String(title ?? response.statusText), String(detail ?? ""));
  } catch {
    return new ApiError(response.status, response.statusText, text.slice(0, 300)); // a proxy's page, perhaps
  }
}

/**
 * Return the pause that the service asks for, longer with every attempt if it keeps being busy.
 * @param {Response} response
 * @param {number} attempt
 */
function retryAfter(response, attempt) {
  const named = Number(response.headers.get("retry-after"));
  const seconds = Number.isFinite(named) && named > 0 ? named : 1;
  return Math.min(LONGEST_PAUSE_S, Math.ceil(seconds * 2 ** (attempt - 1)));
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
