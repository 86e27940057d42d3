/** What holds for every picture that is uploaded: the collection, the key, attributes. */

import { h } from "./dom.js";
import { pairsField } from "./pairs_field.js";
import { t } from "./strings.js";

/** @typedef {import("./upload_queue.js").UploadQueue} UploadQueue */

/**
 * Return the settings' fields.
 * @param {UploadQueue} queue
 * @param {{collections: string[], keyNeeded: boolean}} options collections: names to offer
 * @returns {{element: HTMLElement, areFilledIn: () => boolean, askForKey: () => void}} areFilledIn leads to the field that
 *   is not
 */
export function uploadSettings(queue, { collections, keyNeeded }) {
  const collection = collectionField(queue, collections);
  const key = keyField(queue);
  const attributes = pairsField(t("upload-attributes-all"), queue.attributes, (pairs) => {
    queue.attributes = pairs;
  });
  const fold = h(
    "details",
    { open: queue.attributes.length > 0 },
    h("summary", null, t("upload-attributes-all")),
    attributes,
  );
  fold.classList.add("upload-everywhere");
  key.field.hidden = !keyNeeded;
  return { element: h("div", { class: "upload-settings" }, collection.field, key.field, fold), areFilledIn, askForKey };

  function areFilledIn() {
    if (!collection.input.reportValidity()) return false;
    if (key.field.hidden || queue.key) return true;
    key.input.focus();
    return false;
  }

  function askForKey() {
    key.field.hidden = false;
    key.input.setAttribute("aria-invalid", "true");
    key.input.focus();
  }
}

/**
 * @param {UploadQueue} queue
 * @param {string[]} names
 */
function collectionField(queue, names) {
  const oninput = () => {
    queue.collection = input.value;
  };
  const rules = { required: true, maxlength: 200, pattern: ".*\\S.*" };
  const input = h("input", { class: "field", value: queue.collection, list: "upload-collections", ...rules, oninput });
  const offered = names.map((name) => h("option", { value: name }));
  const list = h("datalist", { id: "upload-collections" }, offered);
  return { input, field: h("label", { class: "room-field" }, h("span", null, t("upload-collection")), input, list) };
}

/** @param {UploadQueue} queue */
function keyField(queue) {
  const oninput = () => {
    queue.key = input.value.trim();
    input.removeAttribute("aria-invalid");
  };
  const input = h("input", {
    type: "password",
    class: "field",
    value: queue.key,
    autocomplete: "off",
    "aria-describedby": "upload-key-note",
    oninput,
  });
  const note = h("p", { class: "room-hint", id: "upload-key-note" }, t("upload-key-note"));
  return {
    input,
    field: h("div", { class: "room-field" }, h("label", null, h("span", null, t("upload-key")), input), note),
  };
}
