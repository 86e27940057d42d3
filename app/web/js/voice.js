/** Questions by voice, where the browser offers speech recognition. */

import { announce } from "./announce.js";
import { iconButton } from "./dom.js";
import { notify } from "./notices.js";
import { language, t } from "./strings.js";

const SPOKEN = { en: "en-US", vi: "vi-VN" };
const KNOWN_ERRORS = ["not-allowed", "service-not-allowed", "no-speech", "network", "audio-capture"];

/** Tell whether the browser can listen. */
export function canListen() {
  return recognition() !== undefined;
}

/**
 * Return a button that listens until the speaker pauses, or until it is pressed again. What is heard is added to the
 * text that there was; after stop() nothing is heard any more.
 * @param {{textBefore: () => string, onText: (text: string) => void}} options
 */
export function voiceButton({ textBefore, onText }) {
  /** @type {any} */
  let listening = null;
  const button = iconButton("voice", t("voice"), { class: "voice", "aria-pressed": false });
  const show = (/** @type {boolean} */ on) => button.setAttribute("aria-pressed", String(on));
  button.addEventListener("click", () => {
    if (listening) return listening.stop();
    const before = textBefore().trim();
    listening = new (recognition())();
    listening.lang = SPOKEN[language()];
    listening.interimResults = true;
    listening.onresult = (/** @type {any} */ event) => onText(`${before} ${heard(event)}`.trim());
    listening.onerror = (/** @type {any} */ event) => explain(event.error);
    listening.onend = () => {
      listening = null;
      show(false);
    };
    listening.start();
    show(true);
    announce(t("listening"));
  });
  return { element: button, stop: () => listening?.abort() };
}

/** @returns {any} the browser's class; Chromium's and Safari's still has a prefix */
function recognition() {
  const browser = /** @type {any} */ (globalThis);
  return browser.SpeechRecognition ?? browser.webkitSpeechRecognition;
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
