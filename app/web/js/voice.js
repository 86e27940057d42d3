/** Questions by voice, with the browser's own speech recognition. */

import { announce } from "./announce.js";
import { notify } from "./notices.js";
import { language, t } from "./strings.js";

const SPOKEN = { en: "en-US", vi: "vi-VN" };
const KNOWN_ERRORS = ["not-allowed", "service-not-allowed", "no-speech", "network", "audio-capture"];

/** @typedef {{stop: () => void, abort: () => void}} Listening abort() hears nothing more; stop() ends the sentence */

/**
 * Listen until the speaker pauses. What is heard is added to the text that there was.
 * @param {{before: string, onText: (text: string) => void, onEnd: () => void}} options
 * @returns {Listening}
 */
export function listen({ before, onText, onEnd }) {
  const browser = /** @type {any} */ (globalThis);
  const listening = new (browser.SpeechRecognition ?? browser.webkitSpeechRecognition)();
  listening.lang = SPOKEN[language()];
  listening.interimResults = true;
  listening.onresult = (/** @type {any} */ event) => onText(`${before} ${heard(event)}`.trim());
  listening.onerror = (/** @type {any} */ event) => explain(event.error);
  listening.onend = onEnd;
  listening.start();
  announce(t("listening"));
  return listening;
}

/** @param {any} event */
function heard(event) {
  const results = /** @type {any[]} */ (Array.from(event.results));
  return results.map((result) => result[0].transcript.trim()).join(" ");
}

/** @param {string} error */
function explain(error) {
  if (error !== "aborted") notify(t(KNOWN_ERRORS.includes(error) ? `voice-${error}` : "voice-failed"));
}
